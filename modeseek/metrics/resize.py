"""How pictures reach the size that a feature network takes; the filter moves every distance, so each has a name."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from modeseek.errors import UsageError


def area(images: Tensor, size: int) -> Tensor:
    """Mean over the pixels of each cell: exact where the sizes divide."""
    return F.interpolate(images, (size, size), mode="area")


def bilinear(images: Tensor, size: int) -> Tensor:
    """Pixel centres at half-integers, no antialiasing: what pytorch-fid does.

    It is *not* the resize of TensorFlow 1 (corners at integers) of the original FID and torch-fidelity, nor the
    antialiased one of Pillow that clean-fid asks for.
    """
    return F.interpolate(images, (size, size), mode="bilinear", align_corners=False)


def bicubic_antialias(images: Tensor, size: int) -> Tensor:
    """Pillow's bicubic up to its rounding to 8 bits, which the processors of CLIP and DINOv2 use."""
    return F.interpolate(images, (size, size), mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)


FILTERS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "area": area,
    "bilinear": bilinear,
    "bicubic-antialias": bicubic_antialias,
}


def resize(images: Tensor, size: int, filter: str) -> Tensor:
    """Pictures (N, C, H, W) to (N, C, size, size); as they are if they have that size.

    Raises:
        UsageError: if there is no such filter.
    """
    if filter not in FILTERS:
        raise UsageError(f"filter must be one of {', '.join(FILTERS)}, got {filter!r}")
    return images if images.shape[-2:] == (size, size) else FILTERS[filter](images, size)
