"""Generators whose parameters are the picture: points, pixels, latents."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Points(nn.Module):
    """Points in space. ``x``: (B, D), taken as the start."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.x = nn.Parameter(x.detach().clone())

    def forward(self) -> Tensor:
        """The points, (B, D)."""
        return self.x


class Latents(Points):
    """Latents of a model as they are. ``x``: (B, C, h, w). MSD then is little more than sampling the model."""


class Pixels(nn.Module):
    """An image per sample, through a sigmoid so that it stays in [0, 1].

    Args:
        image: (B, 3, H, W) in [0, 1], the start; values are moved ``margin`` inside to have a finite logit.
        margin: smallest distance from 0 and 1.
    """

    def __init__(self, image: Tensor, margin: float = 1e-3) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.logit(image.detach().clamp(margin, 1 - margin)))

    def forward(self) -> Tensor:
        """The images, (B, 3, H, W)."""
        return self.logits.sigmoid()
