"""Noise levels. Every level is one number: sigma, the standard deviation of Gaussian noise added to clean data.

``z = x + sigma * eps`` (Karras et al. 2022). A variance-preserving model sees ``z_vp = a x + s eps`` with
``a^2 + s^2 = 1``, which is ``a * z`` at ``sigma = s / a``; a flow model sees ``z_f = (1 - tau) x + tau eps``, which is
``(1 - tau) * z`` at ``sigma = tau / (1 - tau)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from modeseek.errors import UsageError

Sigma = float | Tensor  # a number, or one per sample, shape (B,)


def column(sigma: Sigma, like: Tensor) -> Tensor:
    """``sigma`` as a tensor that broadcasts against ``like`` of shape (B, *event): shape (), or (B, 1, ..., 1)."""
    out = torch.as_tensor(sigma, dtype=like.dtype, device=like.device)
    return out if out.ndim == 0 else out.reshape(-1, *([1] * (like.ndim - 1)))


def largest(sigma: Sigma) -> float:
    """The largest level as a Python number."""
    return float(sigma.max()) if isinstance(sigma, Tensor) else float(sigma)


def smallest(sigma: Sigma) -> float:
    """The smallest level as a Python number."""
    return float(sigma.min()) if isinstance(sigma, Tensor) else float(sigma)


# -- conversions: what a network predicts, to and from the denoised x0, all at z = x + sigma * eps ---------------------


def eps_from_x0(z: Tensor, sigma: Sigma, x0: Tensor) -> Tensor:
    """Predicted noise ``(z - x0) / sigma``; shape of z. Equation SIGMA-1."""
    return (z - x0) / column(sigma, z)


def x0_from_eps(z: Tensor, sigma: Sigma, eps: Tensor) -> Tensor:
    """Denoised ``z - sigma * eps``; shape of z. Equation SIGMA-1."""
    return z - column(sigma, z) * eps


def score_from_x0(z: Tensor, sigma: Sigma, x0: Tensor) -> Tensor:
    """Score of the noised density, ``(x0 - z) / sigma^2``; shape of z. Equation SIGMA-2 (Tweedie)."""
    return (x0 - z) / column(sigma, z) ** 2


def x0_from_score(z: Tensor, sigma: Sigma, score: Tensor) -> Tensor:
    """Denoised ``z + sigma^2 * score``; shape of z. Equation SIGMA-2 (Tweedie)."""
    return z + column(sigma, z) ** 2 * score


def vp_scale(sigma: Sigma, like: Tensor) -> Tensor:
    """``a = 1 / sqrt(1 + sigma^2)``, the factor from z to the variance-preserving ``z_vp = a z``. Equation SIGMA-3."""
    return (1 + column(sigma, like) ** 2).rsqrt()


def x0_from_v(z: Tensor, sigma: Sigma, v: Tensor) -> Tensor:
    """Denoised ``a z_vp - s v`` of a velocity ``v = a eps - s x`` (Salimans & Ho 2022). Equation SIGMA-3."""
    a = vp_scale(sigma, z)
    return a * (a * z) - column(sigma, z) * a * v


def v_from_x0(z: Tensor, sigma: Sigma, x0: Tensor) -> Tensor:
    """Velocity ``a eps - s x0`` of a denoised x0. Equation SIGMA-3."""
    a = vp_scale(sigma, z)
    return a * eps_from_x0(z, sigma, x0) - column(sigma, z) * a * x0


def x0_from_flow(z: Tensor, sigma: Sigma, v: Tensor) -> Tensor:
    """Denoised ``z_f - tau v`` of a flow velocity ``v = eps - x`` ``tau = sigma / (1 + sigma)``. Equation SIGMA-4."""
    sigma = column(sigma, z)
    return (z - sigma * v) / (1 + sigma)


def flow_from_x0(z: Tensor, sigma: Sigma, x0: Tensor) -> Tensor:
    """Flow velocity ``eps - x0`` of a denoised x0. Equation SIGMA-4."""
    return eps_from_x0(z, sigma, x0) - x0


# -- grids -----------------------------------------------------------------------------------------------------------


def karras_sigmas(
    steps: int, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0, *, end: float = 0.0
) -> Tensor:
    """The grid of Karras et al. 2022, eq. 5: ``steps`` levels from sigma_max down to sigma_min, then ``end``.

    Returns:
        float64, shape (steps + 1,), decreasing.

    Raises:
        UsageError: if steps < 1 or not 0 < sigma_min < sigma_max.
    """
    if steps < 1:
        raise UsageError(f"steps must be at least 1, got {steps}")
    if not 0 < sigma_min < sigma_max:
        raise UsageError(f"0 < sigma_min < sigma_max must hold, got {sigma_min} and {sigma_max}")
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    return torch.cat([(high + ramp * (low - high)) ** rho, torch.tensor([end], dtype=torch.float64)])


def check_sigmas(sigmas: Tensor) -> Tensor:
    """Return ``sigmas`` if they can be integrated down: at least two levels, decreasing, positive but for the last.

    Raises:
        UsageError: otherwise.
    """
    falling = sigmas.ndim == 1 and len(sigmas) >= 2 and bool((sigmas[1:] < sigmas[:-1]).all())
    if not falling or float(sigmas[-1]) < 0:
        raise UsageError(f"sigmas must be at least two levels, falling, the last at least 0, got {sigmas.tolist()}")
    return sigmas


@dataclass(frozen=True)
class NoiseTable:
    """The discrete levels of a trained model: timestep i has standard deviation ``sigmas[i]``.

    Between the levels the timestep is interpolated linearly in the log signal-to-noise ratio, that is in log sigma.

    Attributes:
        sigmas: float64, shape (T,), rising, positive, finite.
    """

    sigmas: Tensor

    def __post_init__(self) -> None:
        s = self.sigmas
        if s.ndim != 1 or len(s) < 2 or not bool((s[1:] > s[:-1]).all()) or float(s[0]) <= 0:
            raise UsageError("a noise table needs at least two positive, rising levels")

    @classmethod
    def from_alphas_cumprod(cls, abar: Tensor) -> NoiseTable:
        """Table of a variance-preserving model from its cumulative products ``abar = a^2``, shape (T,).

        A last level without any signal (zero terminal SNR) is cut to the nearest finite one.
        """
        abar = abar.detach().to("cpu", torch.float64)
        return cls(((1 - abar) / abar).sqrt()[abar > 0])

    @classmethod
    def vp(cls, steps: int = 1000, beta_start: float = 0.00085, beta_end: float = 0.012) -> NoiseTable:
        """Stable Diffusion's table: square roots of beta rise linearly; sigma from 0.0292 to 14.61."""
        betas = torch.linspace(beta_start**0.5, beta_end**0.5, steps, dtype=torch.float64) ** 2
        return cls.from_alphas_cumprod((1 - betas).cumprod(0))

    @classmethod
    def karras(cls, steps: int = 1000, sigma_min: float = 0.002, sigma_max: float = 80.0) -> NoiseTable:
        """A table for models of a continuous level."""
        return cls(karras_sigmas(steps, sigma_min, sigma_max)[:-1].flip(0))

    @property
    def sigma_min(self) -> float:
        """Smallest level."""
        return float(self.sigmas[0])

    @property
    def sigma_max(self) -> float:
        """Largest level."""
        return float(self.sigmas[-1])

    def __len__(self) -> int:
        return len(self.sigmas)

    def sigma(self, timestep: Tensor) -> Tensor:
        """Level of integer timesteps, any shape; float64 on the CPU."""
        return self.sigmas[timestep.to("cpu", torch.long)]

    def timestep(self, sigma: Tensor) -> Tensor:
        """Fractional timestep of levels, float64, any shape; levels outside the table give its ends."""
        log_sigma = sigma.detach().to("cpu", torch.float64).clamp(self.sigma_min, self.sigma_max).log()
        logs = self.sigmas.log()
        high = torch.searchsorted(logs, log_sigma.contiguous()).clamp(1, len(logs) - 1)
        low = high - 1
        return low + (log_sigma - logs[low]) / (logs[high] - logs[low])

    def pick(self, u: Tensor, first: int, last: int) -> Tensor:
        """Level of a timestep from ``first`` to ``last``, both included, for numbers u in [0, 1) of any shape."""
        return self.sigma(first + (u * (last - first + 1)).long())

    def span(self, low: float, high: float) -> tuple[int, int]:
        """First and last timestep of a range given as fractions of the table, both included.

        Raises:
            UsageError: if not 0 <= low <= high <= 1.
        """
        if not 0 <= low <= high <= 1:
            raise UsageError(f"a time range must satisfy 0 <= low <= high <= 1, got ({low}, {high})")
        last = len(self.sigmas) - 1
        return min(last, math.floor(low * len(self.sigmas))), min(last, math.floor(high * len(self.sigmas)))
