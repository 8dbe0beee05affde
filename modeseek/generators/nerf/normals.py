"""The way that a surface faces."""

from __future__ import annotations

import torch
from torch import Tensor

from modeseek.generators.nerf.base import Field


def normals(field: Field, points: Tensor, step: float = 0.01) -> Tensor:
    """Unit outward normals, -grad density / |grad density|, by central differences; 0 where the density is even.

    Differences rather than autograd: they need six densities, but no second derivative of the field to be trained
    through, and a hash grid's own derivative jumps from cell to cell.

    Args:
        field: whose density falls outwards.
        points: (N, 3) in the cube; differences stay inside of it.
        step: to either side, in the cube's units (threestudio's 0.01).

    Returns:
        (N, 3), differentiable in the field's parameters.
    """
    slopes = []
    for axis in range(3):
        move = torch.zeros(3, dtype=points.dtype, device=points.device)
        move[axis] = step
        ahead, back = (points + move).clamp(-1, 1), (points - move).clamp(-1, 1)
        rise = field.density(ahead)[0] - field.density(back)[0]
        slopes.append(rise / (ahead - back)[:, axis])
    return -torch.nn.functional.normalize(torch.stack(slopes, -1), dim=-1)
