"""Which pipelines of diffusers are known, and of what parts each is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from modeseek.priors.base import Prior
from modeseek.priors.ddpm import DDPM
from modeseek.priors.dit import DiT
from modeseek.priors.flux import Flux
from modeseek.priors.stable_diffusion import StableDiffusion
from modeseek.priors.stable_diffusion_3 import StableDiffusion3
from modeseek.priors.stable_diffusion_xl import StableDiffusionXL

VAE = {"vae": "AutoencoderKL"}


@dataclass(frozen=True)
class Family:
    """A kind of model.

    Attributes:
        build: name, parts and the pipeline's own settings to a prior.
        networks: class of diffusers for each network of it.
        encoders: class of transformers for each text encoder.
        tokenizers: class of transformers for each tokenizer.
        scheduler: class of diffusers whose levels are taken from the model's scheduler.
        optional: parts that may be absent.
    """

    build: Callable[[str, Mapping[str, Any], Mapping[str, Any]], Prior]
    networks: Mapping[str, str]
    encoders: Mapping[str, str]
    tokenizers: Mapping[str, str]
    scheduler: str
    optional: tuple[str, ...] = ()

    @property
    def modules(self) -> tuple[str, ...]:
        """Parts with weights."""
        return (*self.networks, *self.encoders)

    @property
    def parts(self) -> tuple[str, ...]:
        """All parts."""
        return (*self.modules, *self.tokenizers, "scheduler")


_DDPM = Family(DDPM.from_parts, {"unet": "UNet2DModel"}, {}, {}, "DDIMScheduler")

FAMILIES = {  # by diffusers' name of the pipeline
    "StableDiffusionPipeline": Family(
        StableDiffusion.from_parts,
        {"unet": "UNet2DConditionModel", **VAE},
        {"text_encoder": "CLIPTextModel"},
        {"tokenizer": "CLIPTokenizer"},
        "DDIMScheduler",
    ),
    "StableDiffusionXLPipeline": Family(
        StableDiffusionXL.from_parts,
        {"unet": "UNet2DConditionModel", **VAE},
        {"text_encoder": "CLIPTextModel", "text_encoder_2": "CLIPTextModelWithProjection"},
        {"tokenizer": "CLIPTokenizer", "tokenizer_2": "CLIPTokenizer"},
        "DDIMScheduler",
    ),
    "StableDiffusion3Pipeline": Family(
        StableDiffusion3.from_parts,
        {"transformer": "SD3Transformer2DModel", **VAE},
        {
            "text_encoder": "CLIPTextModelWithProjection",
            "text_encoder_2": "CLIPTextModelWithProjection",
            "text_encoder_3": "T5EncoderModel",
        },
        {"tokenizer": "CLIPTokenizer", "tokenizer_2": "CLIPTokenizer", "tokenizer_3": "T5TokenizerFast"},
        "FlowMatchEulerDiscreteScheduler",
        optional=("text_encoder_3", "tokenizer_3"),
    ),
    "FluxPipeline": Family(
        Flux.from_parts,
        {"transformer": "FluxTransformer2DModel", **VAE},
        {"text_encoder": "CLIPTextModel", "text_encoder_2": "T5EncoderModel"},
        {"tokenizer": "CLIPTokenizer", "tokenizer_2": "T5TokenizerFast"},
        "FlowMatchEulerDiscreteScheduler",
    ),
    "DiTPipeline": Family(
        DiT.from_parts,
        {"transformer": "DiTTransformer2DModel", **VAE},
        {},
        {},
        "DDIMScheduler",
    ),
    "DDPMPipeline": _DDPM,
    "DDIMPipeline": _DDPM,
}
