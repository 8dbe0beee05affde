"""Pictures -> features: a network with its name, its resize filter and the hash of its weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from modeseek.errors import UsageError
from modeseek.metrics.features import Features
from modeseek.metrics.resize import resize

SLACK = 1e-3  # outside [0, 1]: rounding of half precision, not another range of values


@dataclass(frozen=True)
class Extractor:
    """A network that turns pictures into rows of numbers.

    Attributes:
        name: kind and model, like ``clip:pocket-clip``, ``inception:2015-12-05``.
        dimension: D, numbers a picture.
        filter: name of the resize filter (resize.py).
        size: side in pixels of the pictures that the network takes.
        sha256: of the file of weights, 64 hexadecimal digits.
        network: (B, 3, size, size) in [0, 1] -> (B, D); its own normalisation of colours is inside.
        device: where the network lives.
        square: refuse pictures that are not square; else they are squeezed.
    """

    name: str
    dimension: int
    filter: str
    size: int
    sha256: str
    network: Callable[[Tensor], Tensor] = field(repr=False)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    square: bool = True

    @torch.no_grad()
    def __call__(self, images: Tensor, batch: int = 32) -> Tensor:
        """Features (N, D), float64 on the CPU, of pictures (N, 3, H, W) in [0, 1], ``batch`` of them at a time.

        Raises:
            UsageError: if these are not pictures in [0, 1], or not square where they must be.
        """
        if batch < 1:
            raise UsageError(f"batch must be at least 1, got {batch}")
        check_images(images, self.square)
        rows = [self.network(self._sized(part)).cpu().double() for part in torch.split(images, batch)]
        return torch.cat(rows)

    def features(self, images: Tensor, batch: int = 32) -> Features:
        """The same, with the name of what made them."""
        return Features(self(images, batch), self.name, self.filter, self.sha256)

    def _sized(self, part: Tensor) -> Tensor:
        return resize(part.to(self.device).float().clamp(0, 1), self.size, self.filter)


def check_images(images: Tensor, square: bool) -> None:
    """Refuse what is not pictures (N, 3, H, W) in [0, 1].

    Raises:
        UsageError: with the shape, the dtype or the range.
    """
    if images.ndim != 4 or images.shape[1] != 3 or images.numel() == 0 or not images.is_floating_point():
        raise UsageError(f"pictures must be floating (N, 3, H, W), got {images.dtype} {(*images.shape,)}")
    low, high = float(images.min()), float(images.max())
    if not (low >= -SLACK and high <= 1 + SLACK):
        raise UsageError(f"pictures must lie in [0, 1], got {low:.4g} to {high:.4g}")
    if square and images.shape[2] != images.shape[3]:
        raise UsageError(f"pictures must be square (crop them first), got {images.shape[2]} x {images.shape[3]}")
