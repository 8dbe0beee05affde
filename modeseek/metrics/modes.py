"""How near points are to the modes, and how many modes they found."""

from __future__ import annotations

import torch
from torch import Tensor

from modeseek.errors import UsageError
from modeseek.metrics.points import checked_points, squared_distances


def nearest_mode(points: Tensor, modes: Tensor) -> Tensor:
    """Distance of each point to the mode nearest to it, (N,), float64, in the units of both. Equation MODE-1.

    Args:
        points: (N, D).
        modes: (K, D).

    Raises:
        UsageError: if either is not finite rows of one D.
    """
    modes = checked_points(modes, "modes")
    return _nearest(checked_points(points, "points", modes.shape[1]), modes)


def share_at_modes(points: Tensor, modes: Tensor, within: float) -> float:
    """Share of the points that lie no farther than ``within`` from some mode. Equation MODE-1.

    Raises:
        UsageError: as ``nearest_mode``, and if ``within`` is not positive.
    """
    _check_radius(within)
    return float((nearest_mode(points, modes) <= within).double().mean())


def share_of_modes_found(points: Tensor, modes: Tensor, within: float) -> float:
    """Share of the modes that have some point no farther than ``within``. Equation MODE-1.

    A point finds every mode that is so near, so that modes closer together than that count together.

    Raises:
        UsageError: as ``nearest_mode``, and if ``within`` is not positive.
    """
    _check_radius(within)
    modes = checked_points(modes, "modes")
    points = checked_points(points, "points", modes.shape[1])
    return float((_nearest(modes, points) <= within).double().mean())


def _nearest(a: Tensor, b: Tensor) -> Tensor:
    """Distance from each of a to the nearest of b, (N,)."""
    nearest = torch.empty_like(a[:, 0])
    for rows, squared in squared_distances(a, b):
        nearest[rows] = squared.amin(1)
    return nearest.sqrt()


def _check_radius(within: float) -> None:
    if not 0 < within < float("inf"):
        raise UsageError(f"within must be a positive distance, got {within}")
