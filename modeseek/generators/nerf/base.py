"""What a radiance field answers, and what a rendering of one holds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn


class Field(nn.Module, ABC):
    """A radiance field in the cube [-1, 1]^3, with something behind it; a length of 1 is half the side."""

    @abstractmethod
    def density(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Density (N,) per unit of length, at least 0, and features (N, F) for ``colour``, at points (N, 3)."""

    @abstractmethod
    def colour(self, features: Tensor) -> Tensor:
        """Colour (N, 3) in [0, 1] of the features that ``density`` gave."""

    @abstractmethod
    def background(self, directions: Tensor) -> Tensor:
        """Colour (N, 3) in [0, 1] seen along unit directions (N, 3) where nothing is in the way."""


@dataclass(frozen=True)
class Samples:
    """What was sampled along the rays, flat, for regularisers: with their graphs, only where something was evaluated.

    Attributes:
        points: (N, 3).
        weights: (N,) share of the ray's picture that comes from there.
        ray: (N,) index of its ray among B * H * W.
        depth: (N,) distance from the camera along the unit direction.
        length: (N,) of the piece of the ray that it stands for.
    """

    points: Tensor
    weights: Tensor
    ray: Tensor
    depth: Tensor
    length: Tensor


@dataclass(frozen=True)
class Rendered:
    """Pictures of a field.

    Attributes:
        image: (B, 3, H, W) in [0, 1], the background behind.
        alpha: (B, 1, H, W), what the object covers, 1 - transmittance.
        depth: (B, 1, H, W), expected distance times alpha: sum of weight * distance along the unit direction.
        normal: (B, 3, H, W), sum of weight * unit outward normal in the world; None unless asked for.
        directions: (B, H, W, 3), unit, of the rays.
        samples: None unless asked for.
    """

    image: Tensor
    alpha: Tensor
    depth: Tensor
    directions: Tensor
    normal: Tensor | None = None
    samples: Samples | None = None
