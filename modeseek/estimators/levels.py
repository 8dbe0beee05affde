"""What SDS, VSD and SDI share: at which noise levels they look, and what a level weighs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from modeseek.errors import UsageError
from modeseek.methods import Weighting
from modeseek.noise import NoiseTable
from modeseek.randomness import Rng, uniform
from modeseek.schedules import Time


def weight(weighting: Weighting, sigma: Tensor) -> Tensor:
    """w of ``grad = w (eps_hat - eps)`` at levels of any shape. Equation SDS-3.

    With ``a = 1 / sqrt(1 + sigma^2)`` and ``s = a sigma``, so that ``abar = a^2``:

    - sigma2: ``s^2 = 1 - abar``, DreamFusion's and ProlificDreamer's;
    - uniform: 1;
    - fantasia3d: ``a s^2 = sqrt(abar) (1 - abar)``;
    - x0: ``sigma``, so that ``grad = x - x0`` (x0 the denoised; SDI's, and the one in which a target is a picture).

    Raises:
        UsageError: for another name.
    """
    check_weighting(weighting)
    if weighting == "uniform":
        return torch.ones_like(sigma)
    if weighting == "x0":
        return sigma
    noise = sigma**2 / (1 + sigma**2)
    return noise if weighting == "sigma2" else noise * (1 + sigma**2).rsqrt()


def check_weighting(weighting: Weighting) -> None:
    """Refuse a weighting that is none.

    Raises:
        UsageError: naming those there are.
    """
    names = get_args(Weighting)
    if weighting not in names:
        raise UsageError(f"weighting must be {', '.join(names[:-1])} or {names[-1]}, got {weighting!r}")


@dataclass(frozen=True)
class Levels:
    """Noise levels that an estimator looks at: a time on a table. Equation TIME-2.

    Attributes:
        table: of the model.
        time: which part of it at which step.
    """

    table: NoiseTable
    time: Time

    def span(self, step: int) -> tuple[int, int]:
        """First and last timestep at a step, both included; never outside the table."""
        return self.table.span(*self.time.range(step))

    def at(self, step: int) -> list[float]:
        """All levels that may be taken at a step, rising."""
        first, last = self.span(step)
        values: list[float] = self.table.sigmas[first : last + 1].tolist()
        return values

    def __call__(self, rng: Rng, batch: int, step: int = 0) -> Tensor:
        """One level for each sample, from its own number, (batch,), float64 on the CPU."""
        return self.table.pick(uniform(rng, batch), *self.span(step))
