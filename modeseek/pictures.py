"""Image tensors to files in memory: PNG, sheets, animations. Pillow is imported where it is needed."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from modeseek.errors import UsageError

Array = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


def to_bytes(image: Tensor) -> Array:
    """(3, H, W) in [0, 1] to uint8 (H, W, 3); values outside are clamped."""
    return in_bytes(image).permute(1, 2, 0).contiguous().numpy()


def in_bytes(images: Tensor) -> Tensor:
    """Images of any shape in [0, 1] as uint8, on the CPU; values outside are clamped."""
    return (images.detach().float().clamp(0, 1) * 255).round().to("cpu", torch.uint8)


def sheet(images: Tensor, columns: int | None = None, margin: int = 2) -> Tensor:
    """Images (B, 3, H, W) side by side on white, (3, H', W'); one image is returned as it is."""
    b, _, h, w = images.shape
    if b == 1:
        return images[0]
    columns = columns or math.ceil(math.sqrt(b))
    rows = math.ceil(b / columns)
    out = torch.ones(3, rows * (h + margin) - margin, columns * (w + margin) - margin)
    for i, image in enumerate(images.detach().float().cpu()):
        top, left = (i // columns) * (h + margin), (i % columns) * (w + margin)
        out[:, top : top + h, left : left + w] = image
    return out


def labelled(rows: Tensor, names: Sequence[str], margin: int = 2) -> Tensor:
    """Rows of images (R, n, 3, H, W) under one another, each with its name above it: (3, H', W')."""
    from PIL import Image, ImageDraw, ImageFont

    strips = []
    size = max(10, rows.shape[-2] // 8)
    for images, name in zip(rows, names):
        strip = sheet(images, columns=len(images), margin=margin)
        title = Image.new("RGB", (strip.shape[2], size + 6), "white")
        ImageDraw.Draw(title).text((2, 1), name, fill="black", font=ImageFont.load_default(size))
        strips += [torch.from_numpy(np.array(title)).permute(2, 0, 1).float() / 255, strip]
    return torch.cat(strips, 1)


def enlarge(image: Tensor, factor: int) -> Tensor:
    """(3, H, W) with every pixel repeated ``factor`` times along both sides."""
    return image.repeat_interleave(factor, 1).repeat_interleave(factor, 2)


def png(image: Tensor) -> bytes:
    """(3, H, W) in [0, 1] as a PNG file."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(to_bytes(image)).save(buffer, format="PNG")
    return buffer.getvalue()


def animation(frames: Sequence[Path], milliseconds: int = 80) -> tuple[bytes, str]:
    """PNG files as an endless animation; the bytes and the file suffix, .webp where Pillow can write it, else .gif."""
    from PIL import Image, features

    images = [Image.open(path).convert("RGB") for path in frames]
    suffix, options = (".webp", {"lossless": True}) if features.check("webp") else (".gif", {})
    buffer = io.BytesIO()
    images[0].save(
        buffer,
        format=suffix[1:].upper(),
        save_all=True,
        append_images=images[1:],
        duration=[milliseconds] * (len(images) - 1) + [1500],
        loop=0,
        **options,
    )
    return buffer.getvalue(), suffix


def read_picture(path: Path, size: int) -> Tensor:
    """A picture file on white, cut to the middle square and resized: (3, size, size) in [0, 1].

    Raises:
        UsageError: if there is no such file or it is no picture.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        rgba = Image.open(path).convert("RGBA")
    except (OSError, UnidentifiedImageError) as error:
        raise UsageError(f"the picture must be a file that Pillow can read, got {path} ({error})") from error
    white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    rgb = ImageOps.fit(Image.alpha_composite(white, rgba).convert("RGB"), (size, size), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(rgb)).permute(2, 0, 1).float() / 255


def thinned(pictures: list[Path], most: int = 100) -> list[Path]:
    """At most ``most`` pictures, evenly, the first and the last among them: an animation is made in memory."""
    if len(pictures) <= most:
        return pictures
    return [pictures[round(k * (len(pictures) - 1) / (most - 1))] for k in range(most)]
