"""Which cells of the cube hold anything, so that empty space is not evaluated."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modeseek.errors import UsageError
from modeseek.generators.nerf.base import Field
from modeseek.randomness import Streams

CELLS = -31  # the branch of the streams that jitters points in cells


class OccupancyGrid(nn.Module):
    """A running maximum of the density in each cell (Müller et al. 2022, Instant-NGP, appendix C).

    Every ``every`` steps the density is taken at one random point of each cell that is looked at; a cell remembers the
    larger of that and ``decay`` times what it remembered. A cell is occupied if it or one of its 26 neighbours is above
    ``threshold``. Until ``warmup`` all cells are looked at and all are occupied; then a part of them in turn, empty
    ones as well, so that density that comes back is found within ``parts`` updates.

    What is skipped has a density of at most ``threshold`` where it was looked at: a ray's alpha changes by at most
    1 - exp(-threshold * length), 0.034 through the whole cube at the default, if cells are smaller than what they hold.

    The next state is a function of state, field, step and rng. Buffers, so checkpoints keep it.

    Args:
        resolution: cells along each side.
        threshold: density, per unit of length (NGP's 0.01).
        every: steps from update to update (NGP's 16).
        decay: for each look (NGP's 0.95).
        warmup: steps during which everything is occupied (NGP's 256).
        parts: updates for one round of all cells after the warm-up.

    Raises:
        UsageError: if one of them is out of range.
    """

    density: Tensor
    bits: Tensor

    def __init__(
        self,
        resolution: int = 64,
        *,
        threshold: float = 0.01,
        every: int = 16,
        decay: float = 0.95,
        warmup: int = 256,
        parts: int = 4,
    ) -> None:
        super().__init__()
        if not (1 <= resolution <= 512 and every >= 1 and parts >= 1 and warmup >= 0):
            raise UsageError(
                "an occupancy grid's resolution must be from 1 to 512, every and parts at least 1 and warmup at least "
                f"0, got {resolution}, {every}, {parts} and {warmup}"
            )
        if not (threshold >= 0 and 0 < decay <= 1):
            raise UsageError(f"threshold must be at least 0 and decay in (0, 1], got {threshold} and {decay}")
        self.resolution, self.threshold, self.every = resolution, threshold, every
        self.decay, self.warmup, self.parts = decay, warmup, parts
        self.register_buffer("density", torch.zeros(resolution**3))
        self.register_buffer("bits", torch.ones(resolution**3, dtype=torch.bool))

    def occupied(self, points: Tensor) -> Tensor:
        """Whether points (..., 3) of the cube lie in an occupied cell, (...)."""
        n = self.resolution
        x, y, z = ((points + 1) * (n / 2)).long().clamp_(0, n - 1).unbind(-1)
        return self.bits[(x * n + y) * n + z]

    @torch.no_grad()
    def update(self, field: Field, rng: Streams, step: int) -> None:
        """Look at the field, if ``step`` is one of every ``every``.

        Args:
            rng: one stream, at this step.
            step: of the run.
        """
        if step % self.every:
            return
        turn, warm = step // self.every, step < self.warmup
        cells = torch.arange(self.resolution**3, device=self.density.device)
        self._look(field, cells if warm else cells[turn % self.parts :: self.parts], rng, self.decay)
        self._mark(all_occupied=warm)

    @torch.no_grad()
    def measure(self, field: Field, rng: Streams, looks: int = 4) -> None:
        """Forget everything and look at every cell ``looks`` times: for a field that stays as it is."""
        self.density.zero_()
        cells = torch.arange(self.resolution**3, device=self.density.device)
        for k in range(looks):
            self._look(field, cells, rng.branch(CELLS - 1 - k), 1.0)
        self._mark(all_occupied=False)

    def _look(self, field: Field, cells: Tensor, rng: Streams, decay: float, at_once: int = 1 << 17) -> None:
        if len(rng) != 1:
            raise UsageError(f"an occupancy grid must have one stream of random numbers, got {len(rng)}")
        n = self.resolution
        jitter = rng.branch(CELLS).uniform((1, len(cells), 3))[0].to(self.density)
        for part, moved in zip(torch.split(cells, at_once), torch.split(jitter, at_once)):
            corner = torch.stack([part // n**2, part // n % n, part % n], -1)
            seen, _ = field.density((corner + moved) * (2 / n) - 1)
            self.density[part] = torch.maximum(self.density[part] * decay, seen)

    def _mark(self, all_occupied: bool) -> None:
        if all_occupied:
            self.bits.fill_(True)
            return
        grid = self.density.view(1, 1, *[self.resolution] * 3)
        near = nn.functional.max_pool3d(grid, 3, stride=1, padding=1)  # a point in a cell says little of its corners
        self.bits.copy_(near.flatten() > self.threshold)
