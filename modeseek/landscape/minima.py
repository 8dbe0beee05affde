"""Where a function on a grid has its minima, and which of them are true modes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from modeseek.errors import UsageError
from modeseek.landscape.field import step

# the eight neighbours in the order of the nodes: the first four come before a node, and number 7 - i is opposite to i
NEIGHBOURS = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]


def minima(values: Tensor, xs: Tensor, ys: Tensor, flat: float = 1e-12) -> Tensor:
    """Coordinates (M, 2) of the local minima inside the grid, float64, between the nodes. Equation LAND-3.

    A node below its eight neighbours; where neighbours are equal, because a minimum lies halfway between them, the
    first of them. From there to the minimum of the quadratic by central differences, at most one step away: the error
    is second order in the step.

    Args:
        values: (nx, ny), for instance ``Potential.values``.
        xs: (nx,) coordinates of the nodes.
        ys: (ny,).
        flat: share of the range of the values by which they must rise to one side at least along each of the four lines
            through a minimum; less is rounding, on a plain or along a valley.

    Raises:
        UsageError: if the axes are not equidistant or do not fit the values.
    """
    dx, dy = step(xs, "xs"), step(ys, "ys")
    if values.shape != (len(xs), len(ys)):
        raise UsageError(f"values must be {(len(xs), len(ys))} for these axes, got {(*values.shape,)}")
    values = values.double()
    around = torch.stack([_shifted(values, i, j) for i, j in NEIGHBOURS])
    centre = _shifted(values, 0, 0)
    lowest = (centre < around[:4]).all(0) & (centre <= around[4:]).all(0)
    rise = torch.maximum(around[:4], around[4:].flip(0)).amin(0) - centre
    at = (lowest & (rise > flat * (values.max() - values.min()))).nonzero() + 1
    offsets = torch.stack([_offset(values[i - 1 : i + 2, j - 1 : j + 2]) for i, j in at.tolist()]) if len(at) else at
    nodes = torch.stack([xs.double()[at[:, 0]], ys.double()[at[:, 1]]], 1)
    return nodes + offsets * torch.tensor([dx, dy], dtype=torch.float64)


@dataclass(frozen=True)
class Comparison:
    """Minima of a landscape against the true modes; ``len`` of each is the number.

    Attributes:
        found: (F, 2), the modes with a minimum near them.
        missed: (K - F, 2), the modes without one; those outside the grid are among them.
        phantom: (L, 2), the minima that are near no mode.
    """

    found: Tensor
    missed: Tensor
    phantom: Tensor


def compare(minima: Tensor, modes: Tensor, within: float) -> Comparison:
    """Which modes have a minimum no farther than ``within``, and which minima have no mode so near. Equation LAND-3.

    Args:
        minima: (M, 2), possibly none.
        modes: (K, 2), possibly none.
        within: a distance in the units of both; the step of the grid is the least that makes sense.

    Raises:
        UsageError: if the shapes do not fit or the distance is not positive.
    """
    if any(p.ndim != 2 or p.shape[1] != 2 for p in (minima, modes)):
        raise UsageError(f"minima and modes must be (M, 2) and (K, 2), got {(*minima.shape,)} and {(*modes.shape,)}")
    if not 0 < within < float("inf"):
        raise UsageError(f"within must be a positive distance, got {within}")
    near = (minima[:, None].double() - modes.double()).norm(dim=-1) <= within
    found = near.any(0)
    return Comparison(modes[found], modes[~found], minima[~near.any(1)])


def _shifted(values: Tensor, i: int, j: int) -> Tensor:
    """What stands (i, j) nodes further, for every inner node, (nx - 2, ny - 2)."""
    nx, ny = values.shape
    return values[1 + i : nx - 1 + i, 1 + j : ny - 1 + j]


def _offset(patch: Tensor) -> Tensor:
    """From the middle of 3 x 3 values to the minimum of their quadratic, in steps, (2,); zero if it has none."""
    slope = torch.stack([patch[2, 1] - patch[0, 1], patch[1, 2] - patch[1, 0]]) / 2
    bends = patch[2, 1] + patch[0, 1] - 2 * patch[1, 1], patch[1, 2] + patch[1, 0] - 2 * patch[1, 1]
    twist = (patch[2, 2] + patch[0, 0] - patch[2, 0] - patch[0, 2]) / 4
    hessian = torch.stack([bends[0], twist, twist, bends[1]]).reshape(2, 2)
    if not bool(hessian.det() > 0):
        return torch.zeros_like(slope)
    offset: Tensor = -torch.linalg.solve(hessian, slope)
    return offset.clamp(-1, 1)
