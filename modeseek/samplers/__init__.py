"""Samplers: denoiser and a falling grid of levels -> samples; product samplers draw from p(y) K(y - x)."""

from modeseek.samplers.ddim import ddim, ddim_step
from modeseek.samplers.heun import heun
from modeseek.samplers.inversion import invert

__all__ = ["ddim", "ddim_step", "heun", "invert"]
