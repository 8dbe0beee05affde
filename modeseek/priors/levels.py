"""Noise levels of diffusers' variance-preserving schedulers, and sampling down them as DDIM pipelines do."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from modeseek.denoisers.base import Cond, Denoiser
from modeseek.errors import UsageError
from modeseek.noise import NoiseTable, Sigma
from modeseek.randomness import Rng
from modeseek.samplers.ddim import ddim
from modeseek.samplers.product.base import Grid

Guide = Callable[[Denoiser], Denoiser]  # puts guidance on a denoiser


class Levels(Protocol):
    """A model's noise levels."""

    @property
    def scheduler(self) -> Any:
        """diffusers' scheduler with the model's own configuration."""

    def grid(self, steps: int) -> Grid:
        """The scheduler's own levels for ``steps`` sampling steps."""

    def integrate(self, guide: Guide, eps: Tensor, cond: Cond, *, steps: int, eta: float, rng: Rng) -> Tensor:
        """Clean samples (B, *event) from unit noise ``eps`` of that shape, as diffusers' pipeline draws them."""


@dataclass(frozen=True)
class VPLevels:
    """Levels of a DDIMScheduler.

    Attributes:
        scheduler: diffusers DDIMScheduler.
        denoiser: the model.
        clip: sample with x0 clipped to the range that the scheduler is configured for, if to any; for pixels, whose
            range is known. It is diffusers' ``use_clipped_model_output``: the noise goes with the clipped x0.
    """

    scheduler: Any
    denoiser: Denoiser
    table: NoiseTable
    clip: bool = False

    def grid(self, steps: int) -> Grid:
        """The scheduler's own levels for ``steps`` sampling steps: its spacing, offset and last level.

        Raises:
            UsageError: if steps is not between 1 and the length of the table.
        """
        check_steps(self.table, steps)
        self.scheduler.set_timesteps(steps)
        timesteps = self.scheduler.timesteps.to("cpu", torch.float64).clamp(max=len(self.table) - 1)
        final = float(self.scheduler.final_alpha_cumprod)
        last = ((1 - final) / final) ** 0.5
        sigmas = torch.cat([self.table.sigma(timesteps), torch.tensor([last], dtype=torch.float64)])
        return falling(sigmas, torch.cat([timesteps, torch.zeros(1, dtype=torch.float64)]))

    def integrate(self, guide: Guide, eps: Tensor, cond: Cond, *, steps: int, eta: float, rng: Rng) -> Tensor:
        """Samples of DDIM, equal to diffusers'.

        The scheduler may stop at its first level instead of 0; as in diffusers, the variance-preserving latent there
        is what is decoded. Where ``steps`` does not divide a spacing (linspace, or trailing with 1000 not a multiple),
        diffusers' DDIM steps beside the level that it evaluates next, and this does not.
        """
        sigmas, guided = self.grid(steps).sigmas, guide(self.denoiser)
        if self.clip and self.scheduler.config.clip_sample:
            guided = Clipped(guided, float(self.scheduler.config.clip_sample_range))
        # diffusers starts from N(0, I) in its own coordinates, which is z / a here
        z = eps * (1 + float(sigmas[0]) ** 2) ** 0.5
        z = ddim(guided, z, sigmas, cond, eta=eta, rng=rng)
        return z / math.sqrt(1 + float(sigmas[-1]) ** 2)


class Clipped:
    """A denoiser whose x0 is clipped to [-limit, limit]."""

    def __init__(self, denoiser: Denoiser, limit: float) -> None:
        self.denoiser, self.limit = denoiser, limit
        self.sigma_min, self.sigma_max = denoiser.sigma_min, denoiser.sigma_max

    def cost(self, sigma: Sigma) -> int:
        """As the denoiser's."""
        return self.denoiser.cost(sigma)

    def __call__(self, z: Tensor, sigma: Sigma, cond: Cond = None) -> Tensor:
        """x0, shape of z."""
        return self.denoiser(z, sigma, cond).clamp(-self.limit, self.limit)


def falling(sigmas: Tensor, timesteps: Tensor) -> Grid:
    """A grid without the levels that are not below the one before."""
    kept = torch.cat([torch.tensor([True]), sigmas[1:] < sigmas[:-1]])
    return Grid(sigmas[kept], timesteps[kept])


def check_steps(table: NoiseTable, steps: int) -> None:
    """Refuse a number of sampling steps outside the table.

    Raises:
        UsageError: naming both.
    """
    if not 1 <= steps <= len(table):
        raise UsageError(f"sampling steps must be between 1 and {len(table)}, got {steps}")
