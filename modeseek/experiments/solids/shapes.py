"""Solids in closed form: signed distances (Quilez 2008), colours, and the eight of the benchmark."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from modeseek.errors import UsageError

Distance = Callable[[Tensor], Tensor]
RGB = tuple[float, float, float]
LIGHT = (0.48, 0.8, 0.36)  # fixed in the world, so that a point's colour is the same from everywhere
DARK = 0.55  # what a face that is turned away keeps of its colour
STEP = 1e-3  # of the differences that give the normal


@dataclass(frozen=True)
class Part:
    """One piece of a solid.

    Attributes:
        distance: points (N, 3) to signed distances (N,), negative inside; never more than the true distance.
        colour: in [0, 1].
    """

    distance: Distance
    colour: RGB


@dataclass(frozen=True)
class Solid:
    """A union of coloured parts inside [-0.8, 0.8]^3.

    Attributes:
        name: of the solid.
        parts: at least one.

    Raises:
        UsageError: if there is no part.
    """

    name: str
    parts: tuple[Part, ...]
    light: RGB = field(default=LIGHT, repr=False)

    def __post_init__(self) -> None:
        if not self.parts:
            raise UsageError("a solid must have at least one part, got none")

    def distance(self, points: Tensor) -> Tensor:
        """Signed distance (N,) of points (N, 3), negative inside; outside never more than the true one."""
        return torch.stack([part.distance(points) for part in self.parts]).amin(0)

    def occupied(self, points: Tensor) -> Tensor:
        """Whether points (N, 3) lie inside, (N,)."""
        return self.distance(points) < 0

    def normal(self, points: Tensor) -> Tensor:
        """Unit outward normal (N, 3) at points (N, 3) of the surface, by central differences."""
        offsets = STEP * torch.eye(3, dtype=points.dtype, device=points.device)
        ends = [self.distance(points + o) - self.distance(points - o) for o in offsets]
        return torch.nn.functional.normalize(torch.stack(ends, -1), dim=-1)

    def colour(self, points: Tensor) -> Tensor:
        """Colour (N, 3) in [0, 1] at points (N, 3) of the surface: the nearest part's, Lambertian under one light.

        The light stands still in the world: the colour depends on the point alone, as that of a field must.
        """
        nearest = torch.stack([part.distance(points) for part in self.parts]).argmin(0)
        albedo = torch.tensor([part.colour for part in self.parts]).to(points)[nearest]
        light = torch.nn.functional.normalize(torch.tensor(self.light).to(points), dim=0)
        return albedo * (DARK + (1 - DARK) * (0.5 + 0.5 * (self.normal(points) @ light)))[:, None]


def ball(radius: float, centre: RGB = (0.0, 0.0, 0.0)) -> Distance:
    """Distance to a ball."""
    return lambda p: (p - torch.tensor(centre).to(p)).norm(dim=-1) - radius


def box(half: RGB, centre: RGB = (0.0, 0.0, 0.0)) -> Distance:
    """Distance to a box with half sides ``half``."""

    def distance(p: Tensor) -> Tensor:
        q = (p - torch.tensor(centre).to(p)).abs() - torch.tensor(half).to(p)
        outside, inside = q.clamp(min=0).square().sum(-1).sqrt(), q.amax(-1).clamp(max=0)
        return outside + inside

    return distance


def ring(radius: float, thickness: float, axis: int = 1, centre: RGB = (0.0, 0.0, 0.0)) -> Distance:
    """Distance to a torus around an axis of the world (0 is x)."""

    def distance(p: Tensor) -> Tensor:
        q = p - torch.tensor(centre).to(p)
        across = [k for k in range(3) if k != axis]
        return torch.hypot(q[:, across].norm(dim=-1) - radius, q[:, axis]) - thickness

    return distance


def tapered(bottom: float, top: float, half: float, centre: RGB = (0.0, 0.0, 0.0), axis: int = 1) -> Distance:
    """Bound on the distance to a cone cut at both ends, a cylinder where its radii are equal, along an axis."""

    def distance(p: Tensor) -> Tensor:
        q = p - torch.tensor(centre).to(p)
        across = [k for k in range(3) if k != axis]
        r, y = q[:, across].norm(dim=-1), q[:, axis]
        mantle = ((r - bottom) * 2 * half - (y + half) * (top - bottom)) / math.hypot(top - bottom, 2 * half)
        return torch.maximum(mantle, y.abs() - half)  # beside the rims the true distance is longer

    return distance


def solids() -> tuple[Solid, ...]:
    """The eight of the benchmark; the first four are those that fields are fitted to."""
    return (
        Solid("sphere", (Part(ball(0.6), (0.9, 0.25, 0.2)),)),
        Solid("torus", (Part(ring(0.48, 0.22), (0.2, 0.45, 0.9)),)),
        Solid("cube", (Part(box((0.45, 0.45, 0.45)), (0.25, 0.7, 0.3)),)),
        Solid(
            "balls",
            (
                Part(ball(0.36, (-0.4, -0.1, 0.0)), (0.95, 0.75, 0.1)),
                Part(ball(0.3, (0.42, 0.2, 0.15)), (0.5, 0.2, 0.75)),
            ),
        ),
        Solid("cone", (Part(tapered(0.6, 0.0, 0.7), (0.95, 0.5, 0.1)),)),
        Solid(
            "cross",
            tuple(
                Part(box(half), (0.15, 0.7, 0.7)) for half in ((0.7, 0.16, 0.16), (0.16, 0.7, 0.16), (0.16, 0.16, 0.7))
            ),
        ),
        Solid(
            "mug",
            (
                Part(tapered(0.4, 0.4, 0.5, (-0.15, 0.0, 0.0)), (0.75, 0.2, 0.5)),
                Part(ring(0.25, 0.09, 2, (0.3, 0.0, 0.0)), (0.15, 0.15, 0.45)),
            ),
        ),
        Solid(
            "hammer",
            (
                Part(tapered(0.13, 0.13, 0.7, (0.0, -0.05, 0.0)), (0.5, 0.32, 0.15)),
                Part(box((0.5, 0.2, 0.2), (0.1, 0.5, 0.0)), (0.3, 0.3, 0.35)),
            ),
        ),
    )
