"""Maximum mean discrepancy of two sets of points (Gretton et al. 2012)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from modeseek.errors import UsageError
from modeseek.metrics.points import checked_points, squared_distances

BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)  # VarDiU's


def mmd(
    a: Tensor,
    b: Tensor,
    bandwidths: Sequence[float] = BANDWIDTHS,
    *,
    scale: float | None = None,
    unbiased: bool = True,
) -> float:
    """Squared maximum mean discrepancy under a mean of Gaussian kernels. Equation MMD-1.

    ``k(x, y) = mean_j exp(-|x - y|^2 / (2 (bandwidth_j scale)^2))``, so that it lies between 0 and 2 (biased) whatever
    the number of bandwidths. The paper states neither its kernel nor its estimator; its numbers are times 1e4.

    Args:
        a: the samples (N, D).
        b: the reference (M, D).
        bandwidths: standard deviations of the kernels, in units of ``scale``.
        scale: in units of the points. If not given, the standard deviation of the reference per coordinate,
            ``sqrt(tr Cov(b) / D)``: moving and stretching both sets together then changes nothing, but swapping them
            does.
        unbiased: leave out the pairs of a point with itself: zero in expectation for two sets of one density, so
            that negative values happen. Otherwise they count, and the value is a squared norm, never negative.

    Raises:
        UsageError: if the points are not two or more finite rows of one D, or a bandwidth or the scale is not positive.
    """
    b = checked_points(b, "b")
    a = checked_points(a, "a", b.shape[1])
    if min(len(a), len(b)) < 2:
        raise UsageError(f"mmd must have two points or more in each set, got {len(a)} and {len(b)}")
    scale = float(b.var(0).mean().sqrt()) if scale is None else scale
    widths = [scale * w for w in bandwidths]
    if not widths or not all(0 < w < float("inf") for w in widths):
        raise UsageError(f"bandwidths and scale must be positive, got {list(bandwidths)} times {scale}")
    within = _within(a, widths, unbiased) + _within(b, widths, unbiased)
    return within - 2 * _total(a, b, widths) / (len(a) * len(b))


def _within(x: Tensor, widths: Sequence[float], unbiased: bool) -> float:
    """Mean of the kernel over pairs of one set; k(x, x) = 1, so that the diagonal is the number of points."""
    n, total = len(x), _total(x, x, widths)
    return (total - n) / (n * (n - 1)) if unbiased else total / n**2


def _total(x: Tensor, y: Tensor, widths: Sequence[float]) -> float:
    """Sum of the kernel over all pairs."""
    total = 0.0
    for _, squared in squared_distances(x, y):
        total += sum(float(k.sum()) for k in _kernels(squared, sorted(widths, reverse=True)))
    return total / len(widths)


def _kernels(squared: Tensor, widths: Sequence[float]) -> Iterator[Tensor]:
    """The Gaussian of each width, widest first; the same memory every time."""
    wider, k = 0.0, torch.empty_like(squared)
    for width in widths:
        if wider == 2 * width:
            k.square_().square_()  # half the width is the fourth power, much cheaper than exp
        else:
            torch.mul(squared, -0.5 / width**2, out=k).exp_()
        wider = width
        yield k
