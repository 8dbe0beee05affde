"""A radiance field as a generator: every step sees it from new cameras."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import interpolate

from modeseek.cameras import Cameras, Orbit
from modeseek.errors import UsageError
from modeseek.generators.base import View
from modeseek.generators.nerf.base import Field, Rendered
from modeseek.generators.nerf.regularisers import Regularisers
from modeseek.generators.nerf.renderer import Renderer
from modeseek.randomness import Streams

CAMERAS, CELLS, PROBES = -1, -2, -3  # branches of a step's streams: an estimator draws from the streams themselves


@dataclass(frozen=True)
class Stage:
    """How steps render from one on.

    Attributes:
        first: that step.
        side: of the pictures rendered, in pixels.
        renderer: of the field that all stages share.
    """

    first: int
    side: int
    renderer: Renderer


class NeRF(nn.Module):
    """``forward(rng) -> View``: pictures of a field from random cameras, one for each stream.

    A camera follows from its own stream and the step, so that a view is the same whatever the number of views.

    Args:
        stages: coarse to fine; the last one also renders what is looked at.
        orbit: where cameras are drawn from.
        size: side of the pictures that it returns, in pixels; what a stage renders otherwise is resized to it.
        regularisers: the view's ``loss`` is their sum; none if not given.
        hold: steps that share their cameras, so that they may share a target as well.

    Raises:
        UsageError: if size or hold is below 1, or the stages do not rise from step 0 or do not share a field.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        orbit: Orbit,
        *,
        size: int,
        regularisers: Regularisers | None = None,
        hold: int = 1,
    ) -> None:
        super().__init__()
        if size < 1 or hold < 1:
            raise UsageError(f"size and hold must be at least 1, got {size} and {hold}")
        firsts = [stage.first for stage in stages]
        if not firsts or firsts[0] != 0 or firsts != sorted(set(firsts)):
            raise UsageError(f"stages must begin at step 0 and rise, got {firsts}")
        if any(s.renderer.field is not stages[0].renderer.field for s in stages):
            raise UsageError("all stages must render the same field")
        self.renderer = stages[-1].renderer  # holds the field and its occupancy, which the others share
        self.orbit, self.size, self.hold, self.regularisers = orbit, size, hold, regularisers
        self._stages = tuple(stages)

    @property
    def field(self) -> Field:
        """What is optimised."""
        return self.renderer.field

    def stage(self, step: int) -> Stage:
        """The one that a step renders by."""
        return next(stage for stage in reversed(self._stages) if stage.first <= step)

    def cameras(self, rng: Streams) -> Cameras:
        """The cameras of the step that ``rng`` is at, on the field's device and of its type."""
        drawn = self.orbit.draw(rng.at(rng.step - rng.step % self.hold).branch(CAMERAS))
        return drawn.to(next(self.field.parameters()))

    def forward(self, rng: Streams) -> View:
        """View of images (B, 3, size, size) in [0, 1], and the cameras."""
        cameras, stage, weights = self.cameras(rng), self.stage(rng.step), self.regularisers
        if self.renderer.occupancy is not None:
            self.renderer.occupancy.update(self.field, rng.first().branch(CELLS), rng.step)
        keep = weights is not None and weights.need_samples
        out = stage.renderer(cameras, stage.side, stage.side, rng, keep_samples=keep)
        image = out.image
        if stage.side != self.size:
            image = interpolate(image, (self.size, self.size), mode="bilinear", antialias=True)
        loss = None if weights is None else weights(self.field, out, rng.branch(PROBES))
        return View(image, cameras, loss)

    def settle(self, seed: int = 0) -> None:
        """Look at all of the field for its occupancy: after another field was put in, or to make no more of it."""
        if self.renderer.occupancy is not None:
            self.renderer.occupancy.measure(self.field, Streams(seed).branch(CELLS))

    @torch.no_grad()
    def look(self, cameras: Cameras, height: int, width: int, *, normals: bool = False) -> Rendered:
        """Pictures from chosen cameras, without noise and without a graph."""
        like = next(self.field.parameters())
        shown: Rendered = self.renderer(cameras.to(like), height, width, normals=normals)
        return shown
