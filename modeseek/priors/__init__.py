"""Pretrained image models as one object each: encode prompts, encode and decode images, denoise."""

from modeseek.priors.base import Prior
from modeseek.priors.diffusers import open_prior
from modeseek.priors.latent import LatentPrior
from modeseek.priors.memory import Economy, economise

__all__ = ["Economy", "LatentPrior", "Prior", "economise", "open_prior"]
