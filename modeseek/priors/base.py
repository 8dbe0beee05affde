"""What every prior offers: a pretrained image model as one object."""

from __future__ import annotations

import inspect
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from modeseek.denoisers.base import Cond, Denoiser
from modeseek.denoisers.diffusers import VPDenoiser
from modeseek.denoisers.flow import FlowDenoiser
from modeseek.errors import NonFiniteError, UsageError
from modeseek.guidance import CFG, LimitedInterval
from modeseek.noise import NoiseTable
from modeseek.priors.fingerprints import fingerprint
from modeseek.priors.levels import Guide, Levels
from modeseek.randomness import Rng, Streams, normal
from modeseek.samplers.product.base import Grid


@dataclass(frozen=True)
class Prior(ABC):
    """A pretrained image model: condition, encode and decode, denoise. A family of models is one final class.

    Attributes:
        name: what it was opened from.
        denoiser: the network in sigma coordinates, unguided; ``denoiser.network`` is diffusers' module.
        levels: its noise levels, and sampling down them.
    """

    guidance: ClassVar[float] = 4.0  # of ``sample``, if none is given

    name: str
    denoiser: VPDenoiser | FlowDenoiser
    levels: Levels

    # -- what a family says ---------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def factor(self) -> int:
        """Pixels per latent element along a side."""

    @property
    @abstractmethod
    def multiple(self) -> int:
        """A picture's sides must be multiples of this, in pixels."""

    @property
    @abstractmethod
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the latent of a picture of ``image_size``."""

    @property
    @abstractmethod
    def text_encoders(self) -> Mapping[str, Any]:
        """The modules that ``encode_prompt`` runs, by name; each may stand on a device of its own."""

    @abstractmethod
    def encode_prompt(self, prompts: str | Sequence[str]) -> Cond:
        """The condition of prompts, one row each, on the network's device."""

    @abstractmethod
    def uncond(self, negative: str) -> Cond:
        """Condition of guidance's other branch, of one row."""

    @abstractmethod
    def encode(self, image: Tensor, rng: Rng | None = None) -> Tensor:
        """Latents (B, C, H / f, W / f) of images (B, 3, H, W) in [0, 1], with gradient."""

    @abstractmethod
    def decode(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1], float32, of latents (B, C, h, w)."""

    # -- what follows from it -------------------------------------------------------------------------------------

    @property
    def table(self) -> NoiseTable:
        """The model's noise levels."""
        return self.denoiser.table

    @property
    def scheduler(self) -> Any:
        """diffusers' scheduler with the model's own configuration."""
        return self.levels.scheduler

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """All that has weights."""
        return (self.denoiser.network, *self.text_encoders.values())

    @property
    def fingerprint(self) -> str:
        """Short hash of some elements of every weight and of the scheduler's settings: tells models apart."""
        known = inspect.signature(type(self.scheduler).__init__).parameters  # a pipeline object brings others along
        settings = {k: v for k, v in self.scheduler.config.items() if k in known}
        return fingerprint(self.modules, json.dumps(settings, sort_keys=True, default=str)).hex()[:16]

    @property
    def device(self) -> torch.device:
        """Where the network lives."""
        device: torch.device = self.denoiser.network.device
        return device

    @property
    def image_size(self) -> int:
        """Side of the square picture it was trained for, in pixels."""
        return self.latent_shape[1] * self.factor

    def guided(
        self, guidance_scale: float, negative: str = "", *, interval: tuple[float, float] | None = None
    ) -> Denoiser:
        """The denoiser under classifier-free guidance.

        Args:
            guidance_scale: 1 is off; the one convention of this project, see docs/conventions.md.
            negative: prompt of the other branch, for models of text.
            interval: levels (low, high) between which guidance acts; all of them if not given.
        """
        guided = self.guide(guidance_scale, negative)(self.denoiser)
        return guided if interval is None else LimitedInterval(guided, self.denoiser, *interval)

    def guide(self, guidance_scale: float, negative: str) -> Guide:
        """Classifier-free guidance, ready to be put on a denoiser of this model."""
        return partial(CFG, guidance_scale=guidance_scale, uncond=self.uncond(negative))

    def grid(self, steps: int) -> Grid:
        """The scheduler's own levels for ``steps`` sampling steps: its spacing, shift and last level.

        Raises:
            UsageError: if steps is not between 1 and the length of the table.
        """
        return self.levels.grid(steps)

    @torch.no_grad()
    def sample(
        self,
        cond: Cond,
        rng: Rng,
        *,
        steps: int = 32,
        guidance_scale: float | None = None,
        negative: str = "",
        eta: float = 0.0,
    ) -> Tensor:
        """Latents (B, C, h, w) of samples, one for each row of ``cond``, equal to diffusers' pipeline of the family.

        Without a condition there is one for each stream of ``rng``. Guidance is the family's usual if not given.

        Raises:
            NonFiniteError: if a sample is not finite, naming it.
        """
        eps = normal(rng, torch.empty(_rows(cond, rng), *self.latent_shape, device=self.device))
        scale = self.guidance if guidance_scale is None else guidance_scale
        x = self.levels.integrate(self.guide(scale, negative), eps, cond, steps=steps, eta=eta, rng=rng)
        bad = ~x.isfinite().flatten(1).all(1)
        if bool(bad.any()):
            raise NonFiniteError(
                f"a sample must be finite, got NaN or infinity in sample(s) {bad.nonzero()[:, 0].tolist()}"
            )
        return x


def check_image(image: Tensor, multiple: int) -> None:
    """Refuse what is no batch of pictures.

    Raises:
        UsageError: unless ``image`` is (B, 3, H, W) with sides that are multiples of ``multiple``.
    """
    if image.ndim != 4 or image.shape[1] != 3 or image.shape[2] % multiple or image.shape[3] % multiple:
        raise UsageError(f"an image must be (B, 3, H, W), sides multiples of {multiple}, got {(*image.shape,)}")


def _rows(cond: Cond, rng: Rng) -> int:
    if isinstance(cond, Tensor):
        return int(cond.shape[0])
    if cond is None:
        return len(rng) if isinstance(rng, Streams) else 1
    return max(int(value.shape[0]) for value in cond.values())
