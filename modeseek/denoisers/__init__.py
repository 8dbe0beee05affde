"""Denoisers: (z, sigma, cond) -> x0, the posterior mean of clean data given ``z = x + sigma * eps``."""

from modeseek.denoisers.base import Cond, Counting, Denoiser
from modeseek.denoisers.mixture import MixtureDenoiser

__all__ = ["Cond", "Counting", "Denoiser", "MixtureDenoiser"]
