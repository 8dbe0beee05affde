"""Where rays pass through the cube [-1, 1]^3 that an object lives in."""

from __future__ import annotations

import torch
from torch import Tensor


def through_cube(origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Distances at which rays enter and leave the cube [-1, 1]^3, by its three slabs.

    A ray from inside starts at 0; one that misses the cube, or has it behind itself, gets two equal distances.

    Args:
        origins: (R, 3).
        directions: (R, 3), unit.

    Returns:
        near and far, (R,), along the direction, 0 <= near <= far.
    """
    tiny = torch.finfo(directions.dtype).tiny
    slope = torch.where(directions.abs() < tiny, tiny, directions)  # 0 / 0 where a ray lies in a face
    one, other = (-1 - origins) / slope, (1 - origins) / slope
    near = torch.minimum(one, other).amax(-1).clamp(min=0)
    far = torch.maximum(one, other).amin(-1)
    hit = far > near
    return torch.where(hit, near, 0), torch.where(hit, far, 0)
