"""Along the rays, front to back: only samples that can be seen are evaluated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from modeseek.generators.nerf.base import Field, Samples
from modeseek.generators.nerf.compositing import Composite
from modeseek.generators.nerf.normals import normals
from modeseek.generators.nerf.occupancy import OccupancyGrid
from modeseek.generators.nerf.rays import through_cube
from modeseek.generators.nerf.sampling import pieces, refine, within

SLICES = 16  # samples of a ray that are evaluated together; then it is seen which rays go on


@dataclass(frozen=True)
class Rays:
    """Origins and unit directions (R, 3), numbers in [0, 1) that place their samples, and the index of the first."""

    origins: Tensor
    directions: Tensor
    jitter: Tensor | None
    first: int


@dataclass(frozen=True)
class Seen:
    """What rays see: colour (R, 3), alpha and depth (R,), normal (R, 3)."""

    colour: Tensor
    alpha: Tensor
    depth: Tensor
    normal: Tensor | None
    samples: Samples | None


@dataclass(frozen=True)
class March:
    """How rays are marched; arguments as ``Renderer`` has them."""

    field: Field
    occupancy: OccupancyGrid | None
    composite: Composite
    samples: int
    importance: int
    stop: float
    faint: float
    normal_step: float

    def __call__(self, rays: Rays, with_normals: bool, keep: bool) -> Seen:
        """What the rays see; with a graph where gradients are on."""
        edges = pieces(*through_cube(rays.origins, rays.directions), self.samples)
        if self.importance:
            with torch.no_grad():
                coarse = self._weights(rays, edges)
            edges = refine(edges, coarse, self.importance, None if rays.jitter is None else rays.jitter[:, 0])
            rays = replace(rays, jitter=None if rays.jitter is None else rays.jitter[:, 1:])
        return self._look(rays, edges, with_normals, keep)

    def _weights(self, rays: Rays, edges: Tensor) -> Tensor:
        """Of the middles of the pieces, (R, n), by densities alone."""
        ahead, found = torch.zeros_like(edges[:, 0]), []
        for t, length in _slices(edges, None):
            at, points = self._visible(rays, t, length, ahead)
            w = torch.zeros_like(t).flatten()
            if len(at):
                w[at], ahead = self.composite(self.field.density(points)[0], at, length, ahead, self.stop)
            found.append(w.view_as(t))
        return torch.cat(found, 1)

    def _look(self, rays: Rays, edges: Tensor, with_normals: bool, keep: bool) -> Seen:
        ahead, depth, colour = torch.zeros_like(edges[:, 0]), torch.zeros_like(edges[:, 0]), _zeros(rays)
        normal, kept = (_zeros(rays) if with_normals else None), [_none(colour)]
        for t, length in _slices(edges, rays.jitter):
            at, points = self._visible(rays, t, length, ahead.detach())
            if not len(at):
                continue
            density, features = self.field.density(points)
            w, ahead = self.composite(density, at, length, ahead, self.stop)
            depth = depth.index_add(0, at // t.shape[1], w * t.flatten()[at])
            if not torch.is_grad_enabled():
                bright = w > self.faint / (edges.shape[1] - 1)
                at, points, features, w = at[bright], points[bright], features[bright], w[bright]
            ray = at // t.shape[1]
            colour = colour.index_add(0, ray, w[:, None] * self.field.colour(features))
            if normal is not None:
                normal = normal.index_add(0, ray, w[:, None] * normals(self.field, points, self.normal_step))
            if keep:
                kept.append(Samples(points, w, ray + rays.first, t.flatten()[at], length.flatten()[at]))
        colour = colour + ahead.exp()[:, None] * self.field.background(rays.directions)
        return Seen(colour, -torch.expm1(ahead), depth, normal, joined(kept) if keep else None)

    def _visible(self, rays: Rays, t: Tensor, length: Tensor, log_ahead: Tensor) -> tuple[Tensor, Tensor]:
        """Which of the samples (R, n) are to be evaluated, (N,) of the flat ones, and their points (N, 3)."""
        wanted = (log_ahead.exp() >= self.stop)[:, None] & (length > 0)
        points = rays.origins[:, None] + rays.directions[:, None] * t[..., None]
        if self.occupancy is not None:
            wanted &= self.occupancy.occupied(points)
        at, points = wanted.flatten().nonzero()[:, 0], points.flatten(0, 1)
        return at, points if len(at) == len(points) else points[at]


def joined(parts: list[Samples]) -> Samples:
    """All samples, a ray's behind one another, rays in order."""
    whole = {f.name: torch.cat([getattr(p, f.name) for p in parts]) for f in fields(Samples)}
    order = whole["ray"].argsort(stable=True)
    return Samples(**{name: values[order] for name, values in whole.items()})


def _slices(edges: Tensor, jitter: Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
    """Distances and lengths of the samples, (R, up to 16) at a time."""
    distance, length = within(edges, jitter), edges.diff(dim=-1)
    return zip(torch.split(distance, SLICES, 1), torch.split(length, SLICES, 1))


def _zeros(rays: Rays) -> Tensor:
    return torch.zeros_like(rays.directions)


def _none(like: Tensor) -> Samples:
    none = like.new_zeros(0)
    return Samples(like.new_zeros(0, 3), none, none.long(), none, none)
