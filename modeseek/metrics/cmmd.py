"""CLIP maximum mean discrepancy (Jayasumana et al. 2024)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from modeseek.metrics.features import check_features

SIGMA, SCALE = 10.0, 1000.0  # the article's and its code's


def cmmd(a: Tensor, b: Tensor, unbiased: bool = False) -> float:
    """1000 times the squared discrepancy of unit features under ``k = exp(-|x - y|^2 / 2 sigma^2)``. Equation CMMD-1.

    Sigma is 10. Biased by default, as the article's code: a picture is paired with itself, so that the value is never
    negative and falls with the number of pictures. On unit vectors the exponent is at most 1/50, so that the kernel is
    linear to 2 %: CMMD is about 10 times the squared distance of the *means* and sees next to nothing of the spread.

    Args:
        a: features (N, D), scaled to unit length here.
        b: features (M, D), likewise.
        unbiased: leave the pairs of a picture with itself out; values below zero happen where the sets are alike.

    Raises:
        UsageError: if the shapes do not fit or a set has fewer than two rows.
    """
    check_features(a, b)
    a, b = F.normalize(a.double(), dim=1), F.normalize(b.double(), dim=1)
    return SCALE * (_within(a, unbiased) + _within(b, unbiased) - 2 * float(_excess(a, b).mean()))


def _within(x: Tensor, unbiased: bool) -> float:
    k, n = _excess(x, x), len(x)
    # the kernel of a row with itself is 1, its excess 0, up to rounding
    return float((k.sum() - k.trace()) / (n * (n - 1) if unbiased else n * n))


def _excess(x: Tensor, y: Tensor) -> Tensor:
    """k - 1: the ones cancel between the three means and would take two digits with them. Unit rows."""
    return torch.expm1((x @ y.T - 1) / SIGMA**2)
