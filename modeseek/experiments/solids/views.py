"""Where solids are seen from: a stock of cameras all around, traced once, and fields that are rendered from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from modeseek.cameras import Cameras, Orbit
from modeseek.errors import UsageError
from modeseek.experiments.solids.shapes import Solid
from modeseek.experiments.solids.trace import pictures
from modeseek.generators.base import View
from modeseek.generators.nerf.renderer import Renderer
from modeseek.randomness import Streams

ORBIT = Orbit(elevation=(-90.0, 90.0))  # all around, so that no side is left to guess
SEED = 2502  # of the cameras: the same for all runs
TRAINING, HELD_OUT = 0, 1  # two stocks that share no camera
CHOICE, JITTER = -1, -2  # branches of a step's streams


@dataclass(frozen=True)
class Stock:
    """Cameras, and what they see.

    Attributes:
        cameras: V of them.
        pictures: (V, N, 3, H, H), of each of the N solids.
    """

    cameras: Cameras
    pictures: Tensor

    @classmethod
    def of(cls, solids: Sequence[Solid], which: int, views: int, size: int) -> Stock:
        """``views`` random cameras of the stock ``which``, and pictures of ``size`` pixels."""
        cameras = ORBIT.draw(Streams(SEED, [(which, k) for k in range(views)]))
        return cls(cameras, pictures(solids, cameras, size))


class Watched(nn.Module):
    """Fields under the same random views of a stock: a generator of ``fields * views`` rows, field by field.

    The view's ``camera`` is each row's number in the stock, by which a condition finds its pictures.

    Args:
        renderers: of each field.
        cameras: the stock's.
        size: side of the pictures in pixels.
        hold: steps that share their views, so that they may share a target.

    Raises:
        UsageError: if hold is below 1 or there is no field.
    """

    def __init__(self, renderers: Sequence[Renderer], cameras: Cameras, size: int, *, hold: int = 1) -> None:
        super().__init__()
        if hold < 1 or not renderers:
            raise UsageError(f"there must be a field and hold at least 1, got {len(renderers)} and {hold}")
        self.renderers, self.cameras = nn.ModuleList(renderers), cameras
        self.size, self.hold = size, hold

    def forward(self, rng: Streams) -> View:
        """View of images (B, 3, size, size) in [0, 1]; of the B streams the first field's draw the views of all."""
        each, left = divmod(len(rng), len(self.renderers))
        if left or not each:
            raise UsageError(f"there must be as many streams for each of {len(self.renderers)} fields, got {len(rng)}")
        turn = rng.at(rng.step - rng.step % self.hold).branch(CHOICE).uniform((len(rng),))
        chosen = (turn[:each] * len(self.cameras)).long()
        images = [
            renderer(self.cameras[chosen], self.size, self.size, _rows(rng, k * each, each).branch(JITTER)).image
            for k, renderer in enumerate(self.renderers)
        ]
        return View(torch.cat(images), chosen.repeat(len(images)))


def _rows(rng: Streams, first: int, count: int) -> Streams:
    rows = slice(first, first + count)
    return Streams(rng.seeds[rows], rng.samples[rows], rng.step)
