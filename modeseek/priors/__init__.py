"""Pretrained image models as one object each: encode prompts, encode and decode images, denoise."""

from modeseek.priors.base import Prior
from modeseek.priors.diffusers import open_prior
from modeseek.priors.latent import LatentPrior

__all__ = ["LatentPrior", "Prior", "open_prior"]
