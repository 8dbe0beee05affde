"""Stable Diffusion 1.x and 2.x: a UNet conditioned on the text of one CLIP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from modeseek.denoisers.base import Cond
from modeseek.denoisers.diffusers import VPDenoiser
from modeseek.denoisers.networks import text_unet
from modeseek.errors import PriorError
from modeseek.noise import NoiseTable
from modeseek.priors.latent import LatentPrior, check_latents
from modeseek.priors.levels import VPLevels
from modeseek.priors.text import check_width, last_states, listed
from modeseek.tokens import tokenise


@dataclass(frozen=True)
class StableDiffusion(LatentPrior):
    """A text-to-image latent diffusion model.

    Attributes:
        text_encoder: transformers CLIPTextModel.
        tokenizer: transformers CLIPTokenizer.
    """

    text_encoder: Any
    tokenizer: Any

    @classmethod
    def from_parts(cls, name: str, parts: Mapping[str, Any], settings: Mapping[str, Any]) -> StableDiffusion:
        """Put a prior together from a pipeline's components.

        Raises:
            PriorError: for an unknown prediction type or a UNet that wants more than text, by name.
        """
        unet, scheduler = parts["unet"], parts["scheduler"]
        extra = [k for k in ("addition_embed_type", "class_embed_type", "encoder_hid_dim_type") if unet.config.get(k)]
        if extra:
            raise PriorError(f"the UNet must be conditioned on text alone, but {name} sets {', '.join(extra)}")
        check_latents(name, unet.config.in_channels, parts["vae"])
        width = parts["text_encoder"].config.hidden_size
        check_width(name, "UNet", unet.config.cross_attention_dim, "its text_encoder's states", width)
        table = NoiseTable.from_alphas_cumprod(scheduler.alphas_cumprod)
        denoiser = VPDenoiser(unet, table, scheduler.config.prediction_type, text_unet)
        levels = VPLevels(scheduler, denoiser, table)
        return cls(name, denoiser, levels, parts["vae"], parts["text_encoder"], parts["tokenizer"])

    @property
    def unet(self) -> Any:
        """diffusers UNet2DConditionModel."""
        return self.denoiser.network

    @property
    def text_encoders(self) -> Mapping[str, Any]:
        """One CLIP."""
        return {"text_encoder": self.text_encoder}

    def encode_prompt(self, prompts: str | Sequence[str]) -> Tensor:
        """The text encoder's last hidden states, (number of prompts, L, D); longer prompts are cut to L tokens.

        Warns of a prompt that is cut.
        """
        limit = self.tokenizer.model_max_length
        tokens = tokenise(self.tokenizer, listed(prompts), limit, "text_encoder")
        return last_states(self.text_encoder, tokens).to(self.device)

    def uncond(self, negative: str) -> Cond:
        """The encoded negative prompt, which may be empty."""
        return self.encode_prompt(negative)
