"""What a generator returns, how it is called, and the wrapper that puts an encoder behind it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from modeseek.errors import UsageError
from modeseek.methods import Posterior
from modeseek.randomness import Rng


@dataclass(frozen=True)
class View:
    """One rendering.

    Attributes:
        image: (B, *event), with its graph: points (B, D), images (B, 3, H, W) in [0, 1], latents (B, C, h, w).
        camera: where it was seen from, for generators that have cameras.
        loss: a scalar of the generator's own, such as its regularisers, which ``distill`` minimises beside; with its
            graph.
    """

    image: Tensor
    camera: Any = None
    loss: Tensor | None = None


Render = Callable[[Rng], View]


def render(generator: nn.Module) -> Render:
    """How to call a generator: ``forward(rng)`` or ``forward()``, returning a View or a plain tensor.

    Raises:
        UsageError: if ``forward`` needs more than one argument, or one by keyword, or returns something else.
    """
    parameters = inspect.signature(generator.forward).parameters.values()
    needed = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if len(needed) > 1 or any(p.kind is p.KEYWORD_ONLY for p in needed):
        raise UsageError(f"a generator's forward must take the rng or nothing, got {[p.name for p in needed]}")

    def call(rng: Rng) -> View:
        out = generator(rng) if needed else generator()
        if isinstance(out, Tensor):
            return View(out)
        if not isinstance(out, View):
            raise UsageError(f"a generator must return a tensor or a View, got {type(out).__name__}")
        return out

    return call


class Encoded(nn.Module):
    """Renders and encodes: a generator of images in front, latents behind.

    Args:
        generator: of images (B, 3, H, W) in [0, 1].
        encode: images to latents, differentiable, for example ``prior.encode``.
        posterior: what ``encode`` gives: its mean, or a sample, for which it is called with the rng as well. A sample
            is noise on the latent that the estimator takes for the picture; the mean of many is the mean's latent.
    """

    def __init__(self, generator: nn.Module, encode: Callable[..., Tensor], *, posterior: Posterior = "mean") -> None:
        super().__init__()
        self.generator = generator
        self._render = render(generator)
        self._encode, self._sampled = encode, posterior == "sample"

    def forward(self, rng: Rng) -> View:
        """View of latents (B, C, h, w)."""
        view = self._render(rng)
        latent = self._encode(view.image, rng) if self._sampled else self._encode(view.image)
        return View(latent, view.camera, view.loss)
