"""Text-to-image models as one object: encode prompts, encode and decode images, denoise."""

from modeseek.priors.diffusers import LatentPrior, open_prior
from modeseek.priors.pocket import POCKET

__all__ = ["POCKET", "LatentPrior", "open_prior"]
