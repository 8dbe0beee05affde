"""Balls with known pictures, volume and surface: fields, and a renderer in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from modeseek.cameras import Cameras
from modeseek.generators.nerf.base import Field, Rendered
from modeseek.randomness import Rng

RED, BLUE = (0.9, 0.1, 0.1), (0.1, 0.2, 0.8)


@dataclass(frozen=True)
class Ball:
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0)
    radius: float = 0.5
    colour: tuple[float, float, float] = RED


class Balls(Field):
    """The density falls by ``slope`` a unit from twice the middle at each centre; ``level`` is at the surfaces."""

    def __init__(self, *balls: Ball, level: float = 10.0, slope: float = 40.0, dtype: torch.dtype = torch.float64):
        super().__init__()
        self.balls, self.level, self.slope = balls, level, slope
        self.scale = torch.nn.Parameter(torch.ones((), dtype=dtype))

    def distances(self, points: Tensor) -> Tensor:
        centres = torch.tensor([b.centre for b in self.balls]).to(points)
        radii = torch.tensor([b.radius for b in self.balls]).to(points)
        return (points[:, None] - centres).square().sum(-1).sqrt() - radii

    def density(self, points: Tensor) -> tuple[Tensor, Tensor]:
        d = self.distances(points)
        return self.scale * (self.level - self.slope * d.amin(1)).clamp_min(0), d.argmin(1, keepdim=True).to(points)

    def colour(self, features: Tensor) -> Tensor:
        return torch.tensor([b.colour for b in self.balls]).to(features)[features[:, 0].long()]

    def background(self, directions: Tensor) -> Tensor:
        return torch.ones_like(directions)


@dataclass
class BallRenderer:
    """Opaque balls on white, without light: the nearest intersection of each ray."""

    balls: tuple[Ball, ...]
    at_once: int = 0  # the most cameras that came together

    def __call__(
        self, cameras: Cameras, height: int, width: int, rng: Rng | None = None, *, normals: bool = False
    ) -> Rendered:
        self.at_once = max(self.at_once, len(cameras))
        start, ahead = cameras.rays(height, width)
        hits = torch.stack([self.first_hit(ball, start, ahead) for ball in self.balls], -1)
        depth, which = hits.min(-1)
        alpha = depth.isfinite().to(depth)[:, None]
        depth = torch.where(depth.isfinite(), depth, 0.0)
        colour = torch.tensor([b.colour for b in self.balls]).to(start)[which].movedim(-1, 1)
        centre = torch.tensor([b.centre for b in self.balls]).to(start)[which]
        normal = torch.nn.functional.normalize(start + depth[..., None] * ahead - centre, dim=-1).movedim(-1, 1)
        return Rendered(colour * alpha + 1 - alpha, alpha, depth[:, None], ahead, normal * alpha if normals else None)

    @staticmethod
    def first_hit(ball: Ball, start: Tensor, ahead: Tensor) -> Tensor:
        middle = start - torch.tensor(ball.centre).to(start)
        b = (middle * ahead).sum(-1)
        inside = b.square() - middle.square().sum(-1) + ball.radius**2
        return torch.where(inside > 0, -b - inside.clamp_min(0).sqrt(), torch.inf)
