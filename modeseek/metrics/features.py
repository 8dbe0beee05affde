"""What every distance between two sets of features asks of them."""

from __future__ import annotations

from torch import Tensor

from modeseek.errors import UsageError


def check_features(a: Tensor, b: Tensor) -> None:
    """Refuse what is not (N, D) and (M, D) with at least two rows each.

    Raises:
        UsageError: with both shapes.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise UsageError(f"features must be (N, D) and (M, D) with N, M >= 2, got {(*a.shape,)} and {(*b.shape,)}")
