"""Autoguidance: away from a worse version of the model (Karras et al. 2024, arXiv 2406.02507)."""

from __future__ import annotations

from torch import Tensor

from modeseek.denoisers.base import Cond, Denoiser
from modeseek.noise import Sigma


class Autoguidance:
    """``x0 = bad + guidance_scale * (good - bad)``; 1 is off. Equation CFG-3.

    Args:
        good: the model.
        bad: the same task, smaller and trained less; sees the same condition.
        guidance_scale: 1 calls the good model alone, anything else both.
    """

    def __init__(self, good: Denoiser, bad: Denoiser, guidance_scale: float) -> None:
        self.good, self.bad, self.guidance_scale = good, bad, guidance_scale

    @property
    def sigma_min(self) -> float:
        """The larger of the two; the good model's where the guidance is off."""
        return self.good.sigma_min if self.guidance_scale == 1 else max(self.good.sigma_min, self.bad.sigma_min)

    @property
    def sigma_max(self) -> float:
        """The smaller of the two; the good model's where the guidance is off."""
        return self.good.sigma_max if self.guidance_scale == 1 else min(self.good.sigma_max, self.bad.sigma_max)

    def cost(self, sigma: Sigma) -> int:
        """Both models', the good one's where the guidance is off."""
        return self.good.cost(sigma) + (0 if self.guidance_scale == 1 else self.bad.cost(sigma))

    def __call__(self, z: Tensor, sigma: Sigma, cond: Cond = None) -> Tensor:
        """Guided x0, shape of z."""
        good = self.good(z, sigma, cond)
        if self.guidance_scale == 1:
            return good
        bad = self.bad(z, sigma, cond)
        return bad + self.guidance_scale * (good - bad)
