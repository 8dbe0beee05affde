"""What is asked of a field beside its pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from itertools import pairwise

import torch
from torch import Tensor

from modeseek.errors import UsageError
from modeseek.generators.nerf.base import Field, Rendered, Samples
from modeseek.generators.nerf.normals import normals
from modeseek.randomness import Streams

PROBES = -32  # the branch of the streams that chooses points


@dataclass(frozen=True)
class Regularisers:
    """A weight for each of them; 0 is off. Called with a rendering, the weighted sum.

    Published weights: threestudio's DreamFusion has sparsity 1 and an orientation that rises from 10 to 1000; its SDI
    sparsity 0.15, opaque 0.1 and orientation 0.1; mip-NeRF 360 has distortion 0.01, in distances that it normalises.

    Attributes:
        sparsity: REG-1, nothing where nothing is needed.
        opaque: REG-2, pixels that are covered or not.
        orientation: REG-3, surfaces that are seen face the camera.
        smoothness: REG-4, neighbouring points face the same way.
        distortion: REG-5, what a ray meets is in one place.
        probes: points of each view that orientation and smoothness are estimated at.

    Raises:
        UsageError: if a weight is negative or not finite, or there are no probes.
    """

    sparsity: float = 0.0
    opaque: float = 0.0
    orientation: float = 0.0
    smoothness: float = 0.0
    distortion: float = 0.0
    probes: int = 1024

    def __post_init__(self) -> None:
        for name in (f.name for f in fields(self)):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UsageError(f"the weight of {name} must be at least 0 and finite, got {getattr(self, name)}")
        if self.probes < 1:
            raise UsageError(f"probes must be at least 1, got {self.probes}")

    @property
    def need_samples(self) -> bool:
        """Whether the rendering has to keep its samples."""
        return max(self.orientation, self.smoothness, self.distortion) > 0

    def __call__(self, field: Field, rendered: Rendered, rng: Streams) -> Tensor:
        """The weighted sum, a scalar with its graph, a mean over views.

        Args:
            rng: one stream for each view, which chooses the probes.

        Raises:
            UsageError: if the samples are needed and were not kept, or there is not a stream for each view.
        """
        total = torch.zeros_like(rendered.alpha[0, 0, 0, 0])
        if self.sparsity:
            total = total + self.sparsity * sparsity(rendered.alpha)
        if self.opaque:
            total = total + self.opaque * opaque(rendered.alpha)
        if self.distortion:
            total = total + self.distortion * distortion(kept(rendered), rendered.alpha.numel())
        probed: tuple[tuple[float, Callable[..., Tensor]], ...] = (
            (self.orientation, orientation),
            (self.smoothness, smoothness),
        )
        for weight, penalty in probed:
            if weight:
                total = total + weight * penalty(field, rendered, rng, self.probes)
        return total


def sparsity(alpha: Tensor) -> Tensor:
    """REG-1 (threestudio): the mean of sqrt(alpha^2 + 0.01), alpha of any shape."""
    return (alpha.square() + 0.01).sqrt().mean()


def opaque(alpha: Tensor, clamp: float = 1e-3) -> Tensor:
    """REG-2 (threestudio): the mean entropy of alpha, any shape, in nats; clamped to [clamp, 1 - clamp]."""
    a = alpha.clamp(clamp, 1 - clamp)
    return -(a * a.log() + (1 - a) * torch.log1p(-a)).mean()


def orientation(field: Field, rendered: Rendered, rng: Streams, probes: int = 1024) -> Tensor:
    """REG-3 (Ref-NeRF, Verbin et al. 2022, eq. 11, as in DreamFusion): the mean over rays of sum w max(0, n . d)^2.

    n is the outward normal, d the ray's direction; no gradient reaches the weights w. Estimated without bias at
    ``probes`` samples of each view, drawn in proportion to w.
    """
    points, ray, share, _ = _probes(rendered, rng, probes)
    facing = (normals(field, points) * rendered.directions.reshape(-1, 3)[ray]).sum(-1)
    return (share * facing.clamp(min=0).square()).sum()


def smoothness(field: Field, rendered: Rendered, rng: Streams, probes: int = 1024, spread: float = 0.01) -> Tensor:
    """REG-4 (threestudio): the mean over rays of sum w |n(x) - n(x + delta)|_1 / 3, delta ~ N(0, spread^2 I).

    Weights as in REG-3; ``spread`` in the cube's units.
    """
    points, _, share, views = _probes(rendered, rng, probes)
    moved = rng.branch(PROBES - 1).normal((len(rng), probes, 3)).to(points)[views].flatten(0, 1)
    turned = normals(field, points) - normals(field, (points + spread * moved).clamp(-1, 1))
    return (share * turned.abs().mean(-1)).sum()


def distortion(samples: Samples, rays: int) -> Tensor:
    """REG-5 (mip-NeRF 360, Barron et al. 2022, eq. 15): the mean over rays of the spread of their weights.

    sum_ij w_i w_j |t_i - t_j| + sum_i w_i^2 length_i / 3, distances in the cube's units; samples as a renderer keeps
    them, a ray's behind one another with rising distance.
    """
    w, t = samples.weights.double(), samples.depth.double()  # running sums over all rays are cut at each ray's start
    mass, moment = w.cumsum(0) - w, (w * t).cumsum(0) - w * t
    first = torch.searchsorted(samples.ray, samples.ray)
    before, moment = mass - mass[first], moment - moment[first]
    total = (2 * w * (t * before - moment)).sum() + (w.square() * samples.length).sum() / 3
    return (total / rays).to(samples.weights.dtype)


def kept(rendered: Rendered) -> Samples:
    """The samples of a rendering.

    Raises:
        UsageError: if it did not keep them.
    """
    if rendered.samples is None:
        raise UsageError("this regulariser needs a rendering with keep_samples=True, got one without samples")
    return rendered.samples


def _probes(rendered: Rendered, rng: Streams, n: int) -> tuple[Tensor, Tensor, Tensor, list[int]]:
    """Points (P, 3) in proportion to their weights, n of each view that has any; their rays, shares (P,), and views.

    The shares make a sum over the points an unbiased estimate of the mean over all rays of the weighted sum.
    """
    samples, (views, _, height, width) = kept(rendered), rendered.alpha.shape
    if len(rng) != views:
        raise UsageError(f"there must be one stream for each view, got {len(rng)} for {views}")
    weights, pixels = samples.weights.detach(), height * width
    quantiles = rng.branch(PROBES).uniform((views, n)).to(weights.device, torch.float64)
    bounds = torch.searchsorted(samples.ray, torch.arange(views + 1, device=weights.device) * pixels).tolist()
    chosen, shares, seen = [weights[:0].long()], [weights[:0]], []
    for view, (first, last) in enumerate(pairwise(bounds)):
        mass = weights[first:last].double().cumsum(0)
        if last > first and mass[-1] > 0:
            found = torch.searchsorted(mass, quantiles[view] * mass[-1], right=True)
            chosen.append(first + found.clamp(max=last - first - 1))
            shares.append((mass[-1] / (n * views * pixels)).to(weights).expand(n))
            seen.append(view)
    index = torch.cat(chosen)
    return samples.points[index].detach(), samples.ray[index], torch.cat(shares), seen
