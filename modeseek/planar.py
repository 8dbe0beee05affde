"""The names of the densities in the plane. Imports no torch, so that ``--help`` answers at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from modeseek.errors import UsageError

SETS: dict[str, str] = {
    "fractal": "two classes of branching trees, 1016 Gaussians each (Karras et al. 2024); the target is class A",
    "spiral": "two arms around the origin, one class each",
    "pinwheel": "five bent blades, one class each",
    "moons": "two interleaved half circles, one class each",
    "checkerboard": "eight nearly flat squares of a board of sixteen",
    "rings": "three circles around the origin, one class each",
    "swiss_roll": "one rolled-up strip",
    "eight_gaussians": "eight round Gaussians on a circle",
}

PICTURES: dict[str, str] = {  # functions of skimage.data whose picture is part of the wheel: no download
    "astronaut": "portrait of an astronaut",
    "brick": "brick wall",
    "camera": "photographer with a camera",
    "cat": "cat Chelsea",
    "cell": "cell under a microscope",
    "clock": "clock in motion",
    "coffee": "cup of coffee",
    "coins": "coins from Pompeii",
    "colorwheel": "colour wheel",
    "grass": "grass",
    "gravel": "gravel",
    "horse": "silhouette of a horse",
    "hubble_deep_field": "galaxies",
    "immunohistochemistry": "stained tissue",
    "logo": "logo of scikit-image",
    "microaneurysms": "vessels of a retina",
    "moon": "surface of the moon",
    "page": "scanned page",
    "retina": "retina",
    "rocket": "rocket on its pad",
    "shepp_logan_phantom": "phantom of tomography",
    "text": "photograph of written text",
}


def unknown(what: str, name: str, names: Iterable[str]) -> UsageError:
    """An error that names the nearest name, if any is near, and all of them."""
    listed = list(names)
    near = difflib.get_close_matches(name.lower().replace("-", "_"), listed, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return UsageError(f"{what} must be one of {', '.join(listed)}; got {name!r}.{hint}")
