"""Priors on the latents of an autoencoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from modeseek.errors import PriorError
from modeseek.priors.base import Prior, check_image
from modeseek.randomness import Rng, normal


@dataclass(frozen=True)
class LatentPrior(Prior):
    """A latent diffusion or flow model.

    Attributes:
        vae: diffusers AutoencoderKL.
    """

    vae: Any

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """All that has weights."""
        return (*super().modules, self.vae)

    @property
    def factor(self) -> int:
        """Pixels per latent element along a side."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def multiple(self) -> int:
        """A picture's sides must be multiples of this, in pixels."""
        return self.factor

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the latent of a picture of ``image_size``."""
        side = int(self.denoiser.network.config.sample_size)
        return int(self.vae.config.latent_channels), side, side

    def encode(self, image: Tensor, rng: Rng | None = None) -> Tensor:
        """Latents (B, C, H / f, W / f) of images (B, 3, H, W) in [0, 1], with gradient.

        Args:
            image: values outside [0, 1] are passed on as they are.
            rng: draw from the posterior; its mean if not given.
        """
        check_image(image, self.multiple)
        posterior = self.vae.encode((2 * image - 1).to(self.device, self.vae.dtype)).latent_dist
        mean: Tensor = posterior.mean.to(image.dtype)
        if rng is not None:
            mean = mean + posterior.std.to(image.dtype) * normal(rng, mean)
        return (mean - self._shift()) * float(self.vae.config.scaling_factor)

    @torch.no_grad()
    def decode(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1], float32, of latents (B, C, h, w)."""
        latent = (x / float(self.vae.config.scaling_factor) + self._shift()).to(self.device, self.vae.dtype)
        image: Tensor = self.vae.decode(latent).sample.float()
        return (0.5 * image + 0.5).clamp(0, 1)

    def _shift(self) -> float:
        return float(self.vae.config.get("shift_factor") or 0.0)


def check_latents(name: str, network_channels: int, vae: Any) -> None:
    """Refuse an autoencoder whose latents are not all that the network takes.

    Raises:
        PriorError: naming both numbers of channels, or the normalisation that is not known here.
    """
    if network_channels != vae.config.latent_channels:
        raise PriorError(
            f"the network's input must be the latent alone: {name} takes {network_channels} channels, "
            f"its autoencoder makes {vae.config.latent_channels}"
        )
    if vae.config.get("latents_mean") is not None:
        raise PriorError(f"an autoencoder's latents must be scaled by one number, but {name} sets latents_mean")
