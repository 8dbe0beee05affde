"""Kernel distance between two sets of features (Bińkowski et al. 2018)."""

from __future__ import annotations

from torch import Tensor

from modeseek.metrics.features import check_features


def kernel_distance(a: Tensor, b: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy under ``k(x, y) = (x . y / D + 1)^3``. Equation KD-1.

    Unbiased: negative values happen where the sets are alike.

    Args:
        a: features (N, D).
        b: features (M, D).

    Raises:
        UsageError: if the shapes do not fit or a set has fewer than two rows.
    """
    check_features(a, b)
    a, b, n, m = a.double(), b.double(), len(a), len(b)
    k_aa, k_bb, k_ab = _kernel(a, a), _kernel(b, b), _kernel(a, b)
    within_a = (k_aa.sum() - k_aa.trace()) / (n * (n - 1))
    within_b = (k_bb.sum() - k_bb.trace()) / (m * (m - 1))
    return float(within_a + within_b - 2 * k_ab.mean())


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    k: Tensor = (x @ y.T / x.shape[1] + 1) ** 3
    return k
