"""From the minima of a grid to where a gradient really comes to rest."""

from __future__ import annotations

import torch
from torch import Tensor

from modeseek.errors import UsageError
from modeseek.landscape.field import Gradient

FLAT = 1e-4  # curvature, of the largest, below which a place is a ridge and no minimum
SETTLED = 1e-4  # Newton step, in steps of the grid, at which a point has arrived
DIFFERENCE = 0.02  # half the distance of the differences that make the Jacobian, in steps of the grid


@torch.no_grad()
def settle(gradient: Gradient, starts: Tensor, length: float, steps: int = 300) -> Tensor:
    """Stable zeros of a gradient near ``starts``: (L, 2) with L at most M. Equation LAND-4.

    A grid sees minima where a narrow ridge or valley runs between its nodes. So each start goes on by damped Newton
    steps of at most ``length`` on the gradient itself, downhill along every axis of the symmetric part of its Jacobian.
    Kept are those that arrive where that part is positive definite; of several within ``length / 10`` one.

    Args:
        gradient: the descent direction at points (B, 2), without noise or with the same noise at every call.
        starts: (M, 2).
        length: longest step, for instance that of the grid.
        steps: at most; what has not arrived by then is dropped.

    Raises:
        UsageError: if the starts are no points in the plane or the length is not positive.
    """
    if starts.ndim != 2 or starts.shape[1] != 2 or not 0 < length < float("inf"):
        raise UsageError(f"starts must be (M, 2) and length positive, got {(*starts.shape,)} and {length}")
    x, arrived = starts.double(), [starts.double()[:0]]
    for _ in range(steps):
        if not len(x):
            break
        values, axes, slope = _curvature(gradient, x, DIFFERENCE * length)
        floor = FLAT * values.abs().amax(1, keepdim=True)
        newton = -(axes @ ((axes.mT @ slope[..., None]) / torch.maximum(values.abs(), floor)[..., None]))[..., 0]
        size = newton.norm(dim=1)
        done = size < SETTLED * length
        arrived.append((x + newton)[done & (values[:, 0] > floor[:, 0])])
        x = (x + newton * (length / size.clamp(min=1e-300)).clamp(max=1)[:, None])[~done]
        x = _distinct(x, 1e-3 * length)
    return _distinct(torch.cat(arrived), length / 10)


def _curvature(gradient: Gradient, x: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenvalues (M, 2), rising, and axes (M, 2, 2) of the symmetric part of the Jacobian; the gradient (M, 2)."""
    shifts = eps * torch.tensor([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]], dtype=x.dtype)
    slope, *sides = gradient((x + shifts[:, None]).reshape(-1, 2)).double().reshape(5, -1, 2)
    jacobian = torch.stack([(sides[0] - sides[1]), (sides[2] - sides[3])], 2) / (2 * eps)
    values, axes = torch.linalg.eigh((jacobian + jacobian.mT) / 2)
    return values, axes, slope


def _distinct(x: Tensor, radius: float) -> Tensor:
    """The points of x without those nearer than ``radius`` to an earlier one."""
    near = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist") <= radius
    return x[~near.tril(-1).any(1)]
