"""Noise levels of diffusers' flow-matching scheduler, and sampling down them as its pipelines do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modeseek.denoisers.base import Cond
from modeseek.denoisers.flow import FlowDenoiser, PureNoise
from modeseek.errors import PriorError
from modeseek.noise import NoiseTable
from modeseek.priors.levels import Guide, check_steps, falling
from modeseek.randomness import Rng, normal
from modeseek.samplers.ddim import ddim
from modeseek.samplers.product.base import Grid

STEPS = 1000  # of the scheduler and of the networks' time


@dataclass(frozen=True)
class FlowLevels:
    """Levels of a FlowMatchEulerDiscreteScheduler.

    Attributes:
        scheduler: diffusers' scheduler.
        denoiser: the model.
        mu: of the shift that depends on the size of the picture, where the scheduler's does: the model's own size's.
        from_one: FLUX's pipeline asks for tau falling evenly from 1 to 1 / steps, Stable Diffusion 3's leaves the
            times to the scheduler; then comes the shift.
    """

    scheduler: Any
    denoiser: FlowDenoiser
    mu: float
    from_one: bool

    def times(self, steps: int) -> Tensor:
        """The tau of ``steps`` sampling steps and the last, 0: float64, (steps + 1,); the first may be 1.

        Raises:
            UsageError: if steps is not between 1 and the length of the table.
        """
        check_steps(self.denoiser.table, steps)
        mu = self.mu if self.scheduler.config.use_dynamic_shifting else None
        if self.from_one:
            self.scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=mu)
        else:
            self.scheduler.set_timesteps(steps, mu=mu)
        times: Tensor = self.scheduler.sigmas.to("cpu", torch.float64)
        return times

    def grid(self, steps: int) -> Grid:
        """The scheduler's own levels for ``steps`` sampling steps; tau = 1 is cut to the table's largest."""
        times = self.times(steps)
        return falling((times / (1 - times)).clamp(max=self.denoiser.sigma_max), STEPS * times)

    def integrate(self, guide: Guide, eps: Tensor, cond: Cond, *, steps: int, eta: float, rng: Rng) -> Tensor:
        """Samples, equal to diffusers' Euler steps of a flow. Equation FLOW-1.

        Euler's step in tau is DDIM's step in sigma. The one from tau = 1, where sigma is infinite, is taken apart:
        ``z = D + sigma' eps``; with eta, a share of that noise is fresh.
        """
        times, guided = self.times(steps), guide(self.denoiser)
        if float(times[0]) < 1:
            z, sigmas = eps / (1 - float(times[0])), times / (1 - times)
        else:
            x0, sigmas = guide(PureNoise(self.denoiser))(eps, float("inf"), cond), times[1:] / (1 - times[1:])
            noise = eps if eta == 0 else (1 - eta**2) ** 0.5 * eps + eta * normal(rng, eps)
            z = x0 + float(sigmas[0]) * noise
        return z if len(sigmas) == 1 else ddim(guided, z, sigmas, cond, eta=eta, rng=rng)


def flow_table(scheduler: Any, mu: float) -> NoiseTable:
    """Training levels of a flow-matching scheduler: tau = i / 1000, shifted as configured, without tau = 1.

    Where the shift depends on the size of the picture (FLUX-dev), it is that of ``mu``: of the model's own size, as in
    its sampling, whereas the scheduler itself keeps such levels without a shift.

    Raises:
        PriorError: for levels of another number, or upside down.
    """
    if scheduler.config.num_train_timesteps != STEPS or scheduler.config.get("invert_sigmas"):
        raise PriorError(f"a flow-matching scheduler must have {STEPS} levels, tau falling from 1")
    tau = torch.arange(1, STEPS, dtype=torch.float64) / STEPS
    if scheduler.config.use_dynamic_shifting:
        tau = scheduler.time_shift(mu, 1.0, tau)
        return NoiseTable(tau / (1 - tau))
    return NoiseTable(float(scheduler.config.shift) * tau / (1 - tau))  # of shift tau / (1 + (shift - 1) tau)


def dynamic_shift(config: Mapping[str, Any], tokens: int) -> float:
    """The mu of pictures of ``tokens`` patches: linear between the configured ends, as FLUX's pipeline has it."""
    low, high = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    first, last = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    return float(first + (last - first) * (tokens - low) / (high - low))
