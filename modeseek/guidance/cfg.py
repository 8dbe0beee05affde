"""Classifier-free guidance (Ho & Salimans 2022)."""

from __future__ import annotations

import torch
from torch import Tensor

from modeseek.denoisers.base import Cond, Denoiser, concatenate
from modeseek.noise import Sigma


class CFG:
    """``x0 = uncond + guidance_scale * (cond - uncond)``; 1 is off. Equation MSD-13, where guidance_scale = 1 + w.

    Args:
        denoiser: the model.
        guidance_scale: as in diffusers. 1 calls the model once, anything else twice (in one batch where both
            conditions are tensors).
        uncond: condition of the other branch: the empty or a negative prompt; None is unconditional.
    """

    def __init__(self, denoiser: Denoiser, guidance_scale: float, uncond: Cond = None) -> None:
        self.denoiser, self.guidance_scale, self.uncond = denoiser, guidance_scale, uncond

    @property
    def sigma_min(self) -> float:
        """As the denoiser's."""
        return self.denoiser.sigma_min

    @property
    def sigma_max(self) -> float:
        """As the denoiser's."""
        return self.denoiser.sigma_max

    def cost(self, sigma: Sigma) -> int:
        """Twice the denoiser's, once where the guidance is off."""
        return self.denoiser.cost(sigma) * (1 if self.guidance_scale == 1 else 2)

    def __call__(self, z: Tensor, sigma: Sigma, cond: Cond = None) -> Tensor:
        """Guided x0, shape of z."""
        if self.guidance_scale == 1:
            return self.denoiser(z, sigma, cond)
        if cond is None or self.uncond is None:
            with_cond, without = self.denoiser(z, sigma, cond), self.denoiser(z, sigma, self.uncond)
        else:
            both = concatenate(cond, self.uncond, z.shape[0])
            levels = torch.cat([sigma, sigma]) if isinstance(sigma, Tensor) and sigma.ndim else sigma
            with_cond, without = self.denoiser(torch.cat([z, z]), levels, both).chunk(2)
        return without + self.guidance_scale * (with_cond - without)
