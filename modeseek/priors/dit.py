"""DiT: a transformer on latents, conditioned on one of many classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from modeseek.denoisers.base import Cond
from modeseek.denoisers.diffusers import VPDenoiser
from modeseek.denoisers.networks import class_transformer
from modeseek.errors import UsageError
from modeseek.noise import NoiseTable
from modeseek.priors.latent import LatentPrior, check_latents
from modeseek.priors.levels import VPLevels
from modeseek.priors.text import listed


@dataclass(frozen=True)
class DiT(LatentPrior):
    """A class-conditional latent diffusion model with conditions ``{"label"}``; a prompt is a class's name or number.

    Attributes:
        labels: number of each name, as the pipeline lists them.
    """

    labels: Mapping[str, int]

    @classmethod
    def from_parts(cls, name: str, parts: Mapping[str, Any], settings: Mapping[str, Any]) -> DiT:
        """Put a prior together from a pipeline's components.

        Raises:
            PriorError: for an unknown prediction type.
        """
        network, scheduler = parts["transformer"], parts["scheduler"]
        check_latents(name, network.config.in_channels, parts["vae"])
        table = NoiseTable.from_alphas_cumprod(scheduler.alphas_cumprod)
        denoiser = VPDenoiser(network, table, scheduler.config.prediction_type, class_transformer)
        levels = VPLevels(scheduler, denoiser, table)
        return cls(name, denoiser, levels, parts["vae"], _labels(settings))

    @property
    def classes(self) -> int:
        """Number of classes; that number itself is the label of none, for guidance."""
        return int(self.denoiser.network.config.num_embeds_ada_norm)

    @property
    def multiple(self) -> int:
        """The side of its pictures, in pixels: the transformer's positions are of that size alone."""
        return self.image_size

    @property
    def text_encoders(self) -> Mapping[str, Any]:
        """None: it reads no text."""
        return {}

    def encode_prompt(self, prompts: str | Sequence[str]) -> dict[str, Tensor]:
        """``label`` (B,), integers. A prompt is a class's name or its number; the empty one is the label of none.

        Raises:
            UsageError: for a class that the model does not have.
        """
        numbers = [self._number(prompt.strip()) for prompt in listed(prompts)]
        return {"label": torch.tensor(numbers, device=self.device)}

    def uncond(self, negative: str) -> Cond:
        """The label of none.

        Raises:
            UsageError: for a negative prompt.
        """
        if negative:
            raise UsageError(f"a negative prompt must be empty for a model without text, got {negative!r}")
        return self.encode_prompt("")

    def _number(self, prompt: str) -> int:
        if not prompt:
            return self.classes
        number = int(prompt) if prompt.isdecimal() else self.labels.get(prompt, -1)
        if not 0 <= number < self.classes:
            known = f" or one of its {len(self.labels)} names" if self.labels else "; it lists no names"
            raise UsageError(f"a class must be a number from 0 to {self.classes - 1}{known}, got {prompt!r}")
        return number


def _labels(settings: Mapping[str, Any]) -> dict[str, int]:
    """A pipeline object has names to numbers; its index has numbers to names, several of them between commas."""
    listed = (settings.get("id2label") or {}).items()
    names = {name.strip(): int(number) for number, several in listed for name in several.split(",")}
    return {**names, **settings.get("labels", {})}
