"""DDPM: an unconditional UNet on pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from modeseek.denoisers.base import Cond
from modeseek.denoisers.diffusers import VPDenoiser
from modeseek.denoisers.networks import plain_unet
from modeseek.errors import PriorError, UsageError
from modeseek.noise import NoiseTable
from modeseek.priors.base import Prior, check_image
from modeseek.priors.levels import Guide, VPLevels
from modeseek.priors.text import listed
from modeseek.randomness import Rng


@dataclass(frozen=True)
class DDPM(Prior):
    """An unconditional diffusion model of pixels in [-1, 1]; its condition is None."""

    guidance: ClassVar[float] = 1.0

    @classmethod
    def from_parts(cls, name: str, parts: Mapping[str, Any], settings: Mapping[str, Any]) -> DDPM:
        """Put a prior together from a pipeline's components.

        Raises:
            PriorError: for an unknown prediction type, pictures without three channels, or a UNet with classes.
        """
        unet, scheduler = parts["unet"], parts["scheduler"]
        if unet.config.in_channels != 3:
            raise PriorError(f"a pixel model's pictures must have 3 channels, {name}'s have {unet.config.in_channels}")
        if unet.config.class_embed_type or unet.config.num_class_embeds:
            raise PriorError(f"a UNet2DModel must be unconditional, but {name} has classes")
        table = NoiseTable.from_alphas_cumprod(scheduler.alphas_cumprod)
        denoiser = VPDenoiser(unet, table, scheduler.config.prediction_type, plain_unet)
        return cls(name, denoiser, VPLevels(scheduler, denoiser, table, clip=True))

    @property
    def factor(self) -> int:
        """One: pixels are what it denoises."""
        return 1

    @property
    def multiple(self) -> int:
        """A picture's sides must be multiples of this, in pixels: of what the UNet halves."""
        return int(2 ** (len(self.denoiser.network.config.block_out_channels) - 1))

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(3, H, W) of its pictures."""
        side = int(self.denoiser.network.config.sample_size)
        return 3, side, side

    @property
    def text_encoders(self) -> Mapping[str, Any]:
        """None: it reads no text."""
        return {}

    def encode_prompt(self, prompts: str | Sequence[str]) -> None:
        """None, the condition of an unconditional model.

        Raises:
            UsageError: for a prompt that is not empty.
        """
        told = [prompt for prompt in listed(prompts) if prompt]
        if told:
            raise UsageError(
                f"an unconditional model must go without a prompt, got {told[0]!r}; in Python its cond is None"
            )

    def uncond(self, negative: str) -> Cond:
        """None.

        Raises:
            UsageError: for a negative prompt.
        """
        if negative:
            raise UsageError(f"a negative prompt must be empty for a model without text, got {negative!r}")
        return None

    def guide(self, guidance_scale: float, negative: str) -> Guide:
        """No guidance.

        Raises:
            UsageError: for a guidance scale other than 1, or a negative prompt.
        """
        if guidance_scale != 1:
            raise UsageError(f"guidance must be 1, off, for an unconditional model, got {guidance_scale:g}")
        return super().guide(guidance_scale, negative)

    def encode(self, image: Tensor, rng: Rng | None = None) -> Tensor:
        """``2 image - 1`` (B, 3, H, W) of images (B, 3, H, W) in [0, 1], with gradient; nothing is drawn."""
        check_image(image, self.multiple)
        return (2 * image - 1).to(self.device)

    @torch.no_grad()
    def decode(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1], float32, of x (B, 3, H, W)."""
        return (0.5 * x.float() + 0.5).clamp(0, 1)
