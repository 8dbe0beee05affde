"""Text-to-image models as one object: encode prompts, encode and decode images, denoise."""

from modeseek.priors.diffusers import LatentPrior, open_prior

__all__ = ["LatentPrior", "open_prior"]
