"""Pictures of solids by sphere tracing (Hart 1996): what a field or a denoiser's data are held against."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from modeseek.cameras import Cameras
from modeseek.errors import UsageError
from modeseek.experiments.solids.shapes import Solid

NEAR = 1e-4  # a ray this near has arrived
MARCH = 128  # steps; a ray that grazes a corner takes many
REACH = 3**0.5 * 0.8  # of the corners of [-0.8, 0.8]^3 from the origin
Traced = tuple[Tensor, Tensor, Tensor]


@torch.no_grad()
def trace(solid: Solid, cameras: Cameras, height: int, width: int, *, across: int = 2) -> Traced:
    """Pictures on white. A ray moves on by the distance to the solid until that is below ``NEAR``.

    Args:
        solid: inside [-0.8, 0.8]^3.
        cameras: B of them, outside.
        height: of the pictures in pixels.
        width: as well.
        across: rays across a pixel's side, whose colours are averaged: edges are as an area sees them.

    Returns:
        image (B, 3, H, W) in [0, 1]; alpha (B, 1, H, W), the share of a pixel's rays that hit; depth (B, 1, H, W), the
        mean of their distances along the unit direction, 0 where they miss: expected distance times alpha.

    Raises:
        UsageError: if across is below 1.
    """
    if across < 1:
        raise UsageError(f"there must be at least 1 ray across a pixel, got {across}")
    origins, directions = cameras.rays(height * across, width * across)
    far, hit = march(solid, origins.reshape(-1, 3), directions.reshape(-1, 3))
    colour = torch.ones_like(directions).reshape(-1, 3)
    points = (origins.reshape(-1, 3) + far[:, None] * directions.reshape(-1, 3))[hit]
    colour[hit] = solid.colour(points)
    seen = torch.cat([colour, hit[:, None].to(colour), (far * hit)[:, None]], 1)
    pixels = seen.reshape(len(cameras), height, across, width, across, 5).mean((2, 4)).permute(0, 3, 1, 2)
    return pixels[:, :3], pixels[:, 3:4], pixels[:, 4:]


def march(solid: Solid, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Distance (N,) along unit directions (N, 3) from origins (N, 3) to the surface, and whether it is met (N,)."""
    middle = -(origins * directions).sum(-1)  # where the ray passes the origin
    half = REACH**2 - (origins + middle[:, None] * directions).square().sum(-1)
    reach = half.clamp(min=0).sqrt()
    far, last = (middle - reach).clamp(min=0), middle + reach
    hit = torch.zeros_like(far, dtype=torch.bool)
    active = (half > 0).nonzero()[:, 0]
    for _ in range(MARCH):
        if not len(active):
            break
        step = solid.distance(origins[active] + far[active, None] * directions[active])
        arrived = step < NEAR
        hit[active[arrived]] = True
        far[active] += torch.where(arrived, 0.0, step)
        active = active[~arrived & (far[active] < last[active])]
    return far, hit


def pictures(solids: Sequence[Solid], cameras: Cameras, size: int) -> Tensor:
    """What each camera sees of each solid, (B, N, 3, size, size): the data of ``PerViewIdeal`` for those views."""
    return torch.stack([trace(solid, cameras, size, size)[0] for solid in solids], 1)
