"""A density from any grey picture, and any density in the plane by its name or file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from modeseek.densities.fractal import Array
from modeseek.densities.sets import PlanarSet, planar_set, scaled
from modeseek.errors import UsageError
from modeseek.planar import PICTURES, SETS, unknown

WIDTH = 0.5  # standard deviation of a pixel's Gaussian, in pixels: even where the picture is, sharp where it ends


def picture_density(
    image: Tensor | str | Path,
    *,
    dark_is_dense: bool | None = None,
    resolution: int = 96,
    name: str = "picture",
    dtype: torch.dtype = torch.float64,
) -> PlanarSet:
    """A round Gaussian per pixel, weighted by its grey value, the y axis up, scaled to standard deviation one half.

    Grey values are stretched so that the lightest (or the darkest) pixel has weight 0 and no Gaussian.

    Args:
        image: (H, W), finite, any range, larger is lighter; or the path of a picture file.
        dark_is_dense: whether dark pixels carry the mass. By default those that the picture has less of: ink on
            paper is dense where dark, stars where light.
        resolution: the longer side is averaged down to at most so many pixels.

    Raises:
        UsageError: if there is no such file, it is no picture, the picture is of one grey, not (H, W) or not finite,
            or resolution is less than 1.
    """
    grey = image if isinstance(image, Tensor) else read_grey(image)
    if grey.ndim != 2 or grey.numel() == 0:
        raise UsageError(f"a grey picture must be (H, W) with at least one pixel, got {(*grey.shape,)}")
    if not bool(grey.isfinite().all()):
        raise UsageError("a picture must be finite, got a NaN or an infinity")
    if resolution < 1:
        raise UsageError(f"resolution must be at least 1, got {resolution}")
    weights = _weights(_reduced(grey.detach().cpu().double(), resolution), dark_is_dense)
    row, column = np.nonzero(weights)
    means = np.stack([column, -row], -1).astype(np.float64)
    covariances = np.broadcast_to(WIDTH**2 * np.eye(2), (len(means), 2, 2))
    s = scaled(name, means, covariances, weights[row, column])
    return PlanarSet(s.name, s.mixture.to(dtype))


def _reduced(grey: Tensor, resolution: int) -> Tensor:
    """The picture averaged over areas, the longer side at most ``resolution``."""
    factor = min(1.0, resolution / max(grey.shape))
    size = [max(1, round(factor * n)) for n in grey.shape]
    return functional.interpolate(grey[None, None], size=size, mode="area")[0, 0]


def _weights(grey: Tensor, dark_is_dense: bool | None) -> Array:
    """Grey values stretched to [0, 1], 1 where the density is highest."""
    low, high = grey.min(), grey.max()
    if float(high - low) <= 1e-9 * max(1.0, float(grey.abs().max())):
        raise UsageError(f"a picture must have more than one shade of grey to be a density, got {float(low):g} alone")
    light = (grey - low) / (high - low)
    dark = float(light.mean()) > 0.5 if dark_is_dense is None else dark_is_dense
    out: Array = (1 - light if dark else light).numpy()
    return out


def read_grey(path: str | Path) -> Tensor:
    """A picture file as (H, W) in float64, larger is lighter; transparency is laid over white.

    Raises:
        UsageError: if there is no such file, or Pillow cannot read it.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    if not Path(path).is_file():
        raise UsageError(f"the picture must be a file, got {str(path)!r}")
    try:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened)
            if picture.mode[0] in "IF":  # 16 or 32 bits of grey, which "L" would clip
                return torch.from_numpy(np.asarray(picture, dtype=np.float64))
            colours = picture.convert("RGBA")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UsageError(f"{str(path)!r} must be a picture that Pillow can read: {error}") from error
    grey = Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours).convert("L")
    return torch.from_numpy(np.asarray(grey, dtype=np.float64))


def shipped_grey(name: str) -> Tensor:
    """A picture of scikit-image as (H, W) in float64; nothing is downloaded.

    Raises:
        UsageError: if the name is not one of ``modeseek.planar.PICTURES``, or scikit-image is not installed.
    """
    if name not in PICTURES:
        raise unknown("the picture", name, PICTURES)
    try:
        from skimage import data
    except ImportError as error:
        raise UsageError(f'the picture {name!r} needs scikit-image: pip install "modeseek[plots]"') from error
    picture = np.asarray(getattr(data, name)())
    pixels = picture.astype(np.float64) / (255 if picture.dtype == np.uint8 else 1)
    if pixels.ndim == 3:
        opacity = pixels[..., 3:] if pixels.shape[-1] == 4 else 1.0
        pixels = (opacity * pixels[..., :3] + 1 - opacity) @ np.array([0.299, 0.587, 0.114])  # ITU-R 601, as Pillow
    return torch.from_numpy(pixels)


def open_set(source: str, dtype: torch.dtype = torch.float64) -> PlanarSet:
    """A set by its name, else a picture of scikit-image by its name, else a picture file by its path.

    Raises:
        UsageError: if it is none of them, with the nearest name, or the picture is no density.
    """
    if source in SETS:
        return planar_set(source, dtype)
    if source in PICTURES:
        return picture_density(shipped_grey(source), name=source, dtype=dtype)
    if Path(source).is_file():
        return picture_density(source, name=Path(source).stem, dtype=dtype)
    raise unknown("the set, if not a picture file,", source, [*SETS, *PICTURES])
