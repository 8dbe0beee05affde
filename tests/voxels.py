"""A field for tests: densities and colours at the vertices of a grid, trilinear between."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modeseek.generators.nerf.base import Field
from modeseek.generators.nerf.renderer import Renderer
from modeseek.randomness import Streams


class Voxels(Field):
    """Softplus of the density, sigmoid of the colour, white behind; starts as a soft ball with noise."""

    def __init__(self, seed: int, side: int = 24) -> None:
        super().__init__()
        self.values = nn.Parameter(0.1 * Streams(seed).at(-1).normal((1, 4, side, side, side)))

    def density(self, points: Tensor) -> tuple[Tensor, Tensor]:
        at = points.flip(-1)[None, :, None, None].to(self.values)
        out = nn.functional.grid_sample(self.values, at, align_corners=True)[0, :, :, 0, 0].T
        return nn.functional.softplus(20 * out[:, 0] + 5 - 10 * points.norm(dim=-1)), out[:, 1:]

    def colour(self, features: Tensor) -> Tensor:
        return torch.sigmoid(5 * features)

    def background(self, directions: Tensor) -> Tensor:
        return torch.ones_like(directions)


def voxels(seed: int, samples: int = 24) -> Renderer:
    return Renderer(Voxels(seed), samples=samples)
