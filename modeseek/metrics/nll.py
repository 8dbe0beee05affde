"""Negative log likelihood of points under a density that is known."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from modeseek.errors import UsageError
from modeseek.metrics.points import checked_points


def nll(points: Tensor, log_prob: Callable[[Tensor], Tensor]) -> float:
    """``-1/N sum_i log p(x_i)``, in nats. Equation NLL-1.

    Samples of p itself have the entropy of p in expectation; points at the modes lie below it. One point outside the
    support of p makes it infinite.

    Args:
        points: (N, D); handed to ``log_prob`` in float64.
        log_prob: (N, D) -> (N,), for instance ``GaussianMixture.log_prob``.

    Raises:
        UsageError: if the points are not finite rows, or ``log_prob`` does not give N numbers or gives NaN.
    """
    points = checked_points(points, "points")
    values = log_prob(points)
    if values.shape != (len(points),):
        raise UsageError(f"log_prob must give one number per point, {(len(points),)}, got {(*values.shape,)}")
    if bool(values.isnan().any()):
        raise UsageError(f"log_prob must not be NaN, got it at {int(values.isnan().sum())} of {len(points)} points")
    return -float(values.detach().double().mean())
