"""Stable Diffusion XL: a UNet conditioned on the text of two CLIPs, their pooled text, and sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from modeseek.denoisers.base import Cond
from modeseek.denoisers.diffusers import VPDenoiser
from modeseek.denoisers.networks import text_time_unet
from modeseek.errors import PriorError
from modeseek.noise import NoiseTable
from modeseek.priors.latent import LatentPrior, check_latents
from modeseek.priors.levels import VPLevels
from modeseek.priors.text import check_width, listed, penultimate
from modeseek.tokens import tokenise


@dataclass(frozen=True)
class StableDiffusionXL(LatentPrior):
    """A text-to-image latent diffusion model with conditions ``{"text", "pooled", "time_ids"}``.

    Attributes:
        text_encoder: transformers CLIPTextModel.
        text_encoder_2: transformers CLIPTextModelWithProjection; the pooled text is its.
        tokenizer, tokenizer_2: transformers CLIPTokenizer of each.
        zero_uncond: whether guidance without a negative prompt takes zeros for the text instead of the empty prompt.
    """

    text_encoder: Any
    text_encoder_2: Any
    tokenizer: Any
    tokenizer_2: Any
    zero_uncond: bool

    @classmethod
    def from_parts(cls, name: str, parts: Mapping[str, Any], settings: Mapping[str, Any]) -> StableDiffusionXL:
        """Put a prior together from a pipeline's components.

        Raises:
            PriorError: for an unknown prediction type, or a UNet with other conditions or widths than SDXL's.
        """
        unet, scheduler, first, second = (parts[k] for k in ("unet", "scheduler", "text_encoder", "text_encoder_2"))
        if unet.config.addition_embed_type != "text_time":
            kind = unet.config.addition_embed_type
            raise PriorError(f"an SDXL UNet must have addition_embed_type text_time, but {name} has {kind}")
        check_latents(name, unet.config.in_channels, parts["vae"])
        width = first.config.hidden_size + second.config.hidden_size
        check_width(name, "UNet", unet.config.cross_attention_dim, "its two text encoders' states", width)
        added = 6 * unet.config.addition_time_embed_dim + second.config.projection_dim
        wanted = unet.config.projection_class_embeddings_input_dim
        check_width(name, "UNet", wanted, "pooled text and time_ids", added)
        table = NoiseTable.from_alphas_cumprod(scheduler.alphas_cumprod)
        denoiser = VPDenoiser(unet, table, scheduler.config.prediction_type, text_time_unet)
        tokenizers = (parts["tokenizer"], parts["tokenizer_2"])
        zero = bool(settings.get("force_zeros_for_empty_prompt", True))
        levels = VPLevels(scheduler, denoiser, table)
        return cls(name, denoiser, levels, parts["vae"], first, second, *tokenizers, zero)

    @property
    def text_encoders(self) -> Mapping[str, Any]:
        """Two CLIPs."""
        return {"text_encoder": self.text_encoder, "text_encoder_2": self.text_encoder_2}

    def encode_prompt(self, prompts: str | Sequence[str]) -> dict[str, Tensor]:
        """``text`` (B, L, D), ``pooled`` (B, P), and ``time_ids`` (B, 6), those of an uncropped picture of image_size.

        Warns, for each encoder, of a prompt that is cut.
        """
        texts, states = listed(prompts), []
        pairs = {"text_encoder": self.tokenizer, "text_encoder_2": self.tokenizer_2}
        for part, tokenizer in pairs.items():
            tokens = tokenise(tokenizer, texts, tokenizer.model_max_length, part)
            hidden, pooled = penultimate(self.text_encoders[part], tokens)
            states.append(hidden.to(self.device))
        side = self.image_size
        time_ids = torch.tensor([[side, side, 0, 0, side, side]], dtype=torch.float32, device=self.device)
        return {
            "text": torch.cat(states, -1),
            "pooled": pooled.to(self.device),
            "time_ids": time_ids.repeat(len(texts), 1),
        }

    def uncond(self, negative: str) -> Cond:
        """The encoded negative prompt; without one, zeros where the pipeline's configuration has it so."""
        cond = self.encode_prompt(negative)
        if negative or not self.zero_uncond:
            return cond
        return {**cond, "text": torch.zeros_like(cond["text"]), "pooled": torch.zeros_like(cond["pooled"])}
