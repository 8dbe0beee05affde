"""FLUX.1: a flow-matching transformer conditioned on T5's text, CLIP's pooled text and a guidance of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from modeseek.denoisers.base import Cond
from modeseek.denoisers.batches import MicroBatchedAsk
from modeseek.denoisers.diffusers import Ask
from modeseek.denoisers.flow import FlowDenoiser
from modeseek.denoisers.networks import FluxTransformer
from modeseek.errors import PriorError, UsageError
from modeseek.priors.flow_levels import FlowLevels, dynamic_shift, flow_table
from modeseek.priors.latent import LatentPrior, check_latents
from modeseek.priors.text import check_width, last_states, listed
from modeseek.tokens import tokenise

T5_TOKENS = 512  # diffusers' pipeline
DISTILLED = 3.5  # diffusers' pipeline


@dataclass(frozen=True)
class Flux(LatentPrior):
    """A text-to-image latent flow model with conditions ``{"text", "pooled"}``.

    FLUX-dev has guidance distilled into it: a number that the network takes as an input. That is ``distilled_guidance``
    and not ``guidance_scale``, which is classifier-free guidance on top, two evaluations, and usually 1 here.

    Attributes:
        text_encoder: transformers CLIPTextModel, for the pooled text.
        text_encoder_2: transformers T5EncoderModel.
        tokenizer, tokenizer_2: of each.
    """

    guidance: ClassVar[float] = 1.0

    text_encoder: Any
    text_encoder_2: Any
    tokenizer: Any
    tokenizer_2: Any

    @classmethod
    def from_parts(cls, name: str, parts: Mapping[str, Any], settings: Mapping[str, Any]) -> Flux:
        """Put a prior together from a pipeline's components.

        Raises:
            PriorError: for a scheduler of another kind, or text encoders of other widths than the transformer takes.
        """
        network, scheduler, vae = parts["transformer"], parts["scheduler"], parts["vae"]
        clip, t5 = parts["text_encoder"], parts["text_encoder_2"]
        if network.config.in_channels % 4:
            raise PriorError(f"a FLUX transformer must take 2 x 2 patches, {name} takes {network.config.in_channels}")
        check_latents(name, network.config.in_channels // 4, vae)
        width = network.config.joint_attention_dim
        check_width(name, "transformer", width, "text_encoder_2's states", t5.config.d_model)
        pooled = network.config.pooled_projection_dim
        check_width(name, "transformer", pooled, "text_encoder's pooled states", clip.config.hidden_size)
        side = int(vae.config.sample_size) // 2 ** len(vae.config.block_out_channels)
        mu = dynamic_shift(scheduler.config, side**2)
        ask = FluxTransformer(DISTILLED if network.config.guidance_embeds else None)
        denoiser = FlowDenoiser(network, flow_table(scheduler, mu), ask)
        levels = FlowLevels(scheduler, denoiser, mu, from_one=True)
        return cls(name, denoiser, levels, vae, clip, t5, parts["tokenizer"], parts["tokenizer_2"])

    @property
    def distilled_guidance(self) -> float | None:
        """The network's own guidance; None for FLUX-schnell, which has none."""
        ask = self.denoiser.ask
        ask = ask.ask if isinstance(ask, MicroBatchedAsk) else ask
        return ask.guidance if isinstance(ask, FluxTransformer) else None

    def with_distilled_guidance(self, guidance: float) -> Flux:
        """The same model with another guidance of its own.

        Raises:
            UsageError: if it has none.
        """
        if self.distilled_guidance is None:
            raise UsageError(f"distilled guidance must be left alone: {self.name} has none as an input")
        ask: Ask = FluxTransformer(guidance)
        if isinstance(self.denoiser.ask, MicroBatchedAsk):
            ask = dataclasses.replace(self.denoiser.ask, ask=ask)
        denoiser = FlowDenoiser(self.denoiser.network, self.table, ask)
        levels = FlowLevels(self.scheduler, denoiser, self._mu(), from_one=True)
        return dataclasses.replace(self, denoiser=denoiser, levels=levels)

    @property
    def multiple(self) -> int:
        """A picture's sides must be multiples of this, in pixels: of 2 x 2 patches."""
        return 2 * self.factor

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the latent of a picture of the size that the autoencoder names; the transformer names none."""
        side = int(self.vae.config.sample_size) // self.factor
        return int(self.vae.config.latent_channels), side, side

    @property
    def text_encoders(self) -> Mapping[str, Any]:
        """CLIP and T5."""
        return {"text_encoder": self.text_encoder, "text_encoder_2": self.text_encoder_2}

    def encode_prompt(self, prompts: str | Sequence[str]) -> dict[str, Tensor]:
        """``text`` (B, L, D): T5's states; ``pooled`` (B, P): CLIP's. Warns, for each, of a prompt that is cut."""
        texts = listed(prompts)
        tokens = tokenise(self.tokenizer, texts, self.tokenizer.model_max_length, "text_encoder")
        with torch.no_grad():
            pooled = self.text_encoder(tokens.input_ids.to(self.text_encoder.device)).pooler_output
        text = last_states(self.text_encoder_2, tokenise(self.tokenizer_2, texts, T5_TOKENS, "text_encoder_2"))
        return {"text": text.to(self.device), "pooled": pooled.to(self.device)}

    def uncond(self, negative: str) -> Cond:
        """The encoded negative prompt, which may be empty."""
        return self.encode_prompt(negative)

    def _mu(self) -> float:
        return dynamic_shift(self.scheduler.config, (self.latent_shape[1] // 2) ** 2)
