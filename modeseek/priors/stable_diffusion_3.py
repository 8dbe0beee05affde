"""Stable Diffusion 3: a flow-matching transformer conditioned on the text of two CLIPs and, optionally, T5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from modeseek.denoisers.base import Cond
from modeseek.denoisers.flow import FlowDenoiser
from modeseek.denoisers.networks import joint_transformer
from modeseek.errors import PriorError
from modeseek.priors.flow_levels import FlowLevels, dynamic_shift, flow_table
from modeseek.priors.latent import LatentPrior, check_latents
from modeseek.priors.text import check_width, last_states, listed, penultimate
from modeseek.tokens import tokenise

T5_TOKENS = 256  # diffusers' pipeline


@dataclass(frozen=True)
class StableDiffusion3(LatentPrior):
    """A text-to-image latent flow model with conditions ``{"text", "pooled"}``.

    Attributes:
        text_encoder, text_encoder_2: transformers CLIPTextModelWithProjection.
        text_encoder_3: transformers T5EncoderModel; without it, zeros stand for its text.
        tokenizer, tokenizer_2, tokenizer_3: of each.
    """

    text_encoder: Any
    text_encoder_2: Any
    text_encoder_3: Any
    tokenizer: Any
    tokenizer_2: Any
    tokenizer_3: Any

    @classmethod
    def from_parts(cls, name: str, parts: Mapping[str, Any], settings: Mapping[str, Any]) -> StableDiffusion3:
        """Put a prior together from a pipeline's components.

        Raises:
            PriorError: for a scheduler of another kind, or text encoders of other widths than the transformer takes.
        """
        network, scheduler = parts["transformer"], parts["scheduler"]
        encoders = [parts[k] for k in ("text_encoder", "text_encoder_2", "text_encoder_3")]
        tokenizers = [parts[k] for k in ("tokenizer", "tokenizer_2", "tokenizer_3")]
        check_latents(name, network.config.in_channels, parts["vae"])
        _check_text(name, network.config, encoders)
        mu = dynamic_shift(scheduler.config, (network.config.sample_size // network.config.patch_size) ** 2)
        denoiser = FlowDenoiser(network, flow_table(scheduler, mu), joint_transformer)
        levels = FlowLevels(scheduler, denoiser, mu, from_one=False)
        return cls(name, denoiser, levels, parts["vae"], *encoders, *tokenizers)

    @property
    def multiple(self) -> int:
        """A picture's sides must be multiples of this, in pixels: of the transformer's patches."""
        return self.factor * int(self.denoiser.network.config.patch_size)

    @property
    def text_encoders(self) -> Mapping[str, Any]:
        """Two CLIPs and, if it is there, T5."""
        found = {"text_encoder": self.text_encoder, "text_encoder_2": self.text_encoder_2}
        return found if self.text_encoder_3 is None else {**found, "text_encoder_3": self.text_encoder_3}

    def encode_prompt(self, prompts: str | Sequence[str]) -> dict[str, Tensor]:
        """``text`` (B, L, D): the CLIPs' states side by side, widened by zeros, then T5's; ``pooled`` (B, P).

        Warns, for each encoder, of a prompt that is cut.
        """
        texts, states, pooled = listed(prompts), [], []
        limit = self.tokenizer.model_max_length  # as in diffusers, of both CLIPs
        pairs = {"text_encoder": self.tokenizer, "text_encoder_2": self.tokenizer_2}
        for part, tokenizer in pairs.items():
            hidden, whole = penultimate(self.text_encoders[part], tokenise(tokenizer, texts, limit, part))
            states.append(hidden.to(self.device))
            pooled.append(whole.to(self.device))
        clip, width = torch.cat(states, -1), int(self.denoiser.network.config.joint_attention_dim)
        clip = torch.nn.functional.pad(clip, (0, width - clip.shape[-1]))
        return {"text": torch.cat([clip, self._t5(texts, clip)], 1), "pooled": torch.cat(pooled, -1)}

    def uncond(self, negative: str) -> Cond:
        """The encoded negative prompt, which may be empty."""
        return self.encode_prompt(negative)

    def _t5(self, texts: list[str], clip: Tensor) -> Tensor:
        if self.text_encoder_3 is None:
            return clip.new_zeros(len(texts), T5_TOKENS, clip.shape[-1])
        tokens = tokenise(self.tokenizer_3, texts, T5_TOKENS, "text_encoder_3")
        return last_states(self.text_encoder_3, tokens).to(clip)


def _check_text(name: str, config: Any, encoders: list[Any]) -> None:
    first, second, t5 = encoders
    pooled = first.config.projection_dim + second.config.projection_dim
    check_width(name, "transformer", config.pooled_projection_dim, "its two CLIPs' pooled states", pooled)
    clip = first.config.hidden_size + second.config.hidden_size
    if clip > config.joint_attention_dim:
        raise PriorError(
            f"the CLIPs' text must be at most as wide as the transformer of {name} takes, "
            f"{config.joint_attention_dim}, but is {clip}"
        )
    if t5 is not None:
        check_width(name, "transformer", config.joint_attention_dim, "text_encoder_3's states", t5.config.d_model)
