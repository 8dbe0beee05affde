"""A walk around a field: frames of a turntable, and strips of colour, depth and normals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from modeseek.cameras import Cameras, turntable
from modeseek.errors import UsageError
from modeseek.generators.nerf.base import Rendered
from modeseek.pictures import sheet

# viridis (matplotlib's, CC0) at each eighth: its brightness grows evenly, for the colour-blind too
VIRIDIS = (
    (68, 1, 84),
    (71, 45, 123),
    (59, 82, 139),
    (44, 114, 142),
    (33, 145, 140),
    (40, 174, 128),
    (94, 201, 98),
    (173, 220, 48),
    (253, 231, 37),
)
EMPTY = 1e-6  # what covers less than this has no depth and no normal


class Render(Protocol):
    """Pictures of cameras, as ``Renderer`` and ``NeRF.look`` make them: (B, ...) at any size."""

    def __call__(self, cameras: Cameras, height: int, width: int, *, normals: bool = False) -> Rendered:
        """The pictures, without noise."""
        ...


@dataclass(frozen=True)
class Turn:
    """Views from evenly around an object, on the CPU in float32.

    Attributes:
        image: (N, 3, H, W) in [0, 1], the background behind.
        alpha: (N, 1, H, W), what the object covers.
        depth: (N, 1, H, W), expected distance times alpha.
        normal: (N, 3, H, W), sum of weight * unit normal in the world; None unless asked for.
        near: distance of the camera from the unit ball's front.
        far: and from its back.
    """

    image: Tensor
    alpha: Tensor
    depth: Tensor
    normal: Tensor | None
    near: float
    far: float

    def depth_pictures(self) -> Tensor:
        """(N, 3, H, W): what is near is yellow, what is far is violet, and nothing is white.

        The colours are those of fixed distances, from the front of the unit ball to its back, so that frames compare.
        """
        return depth_pictures(self.depth, self.alpha, self.near, self.far)

    def normal_pictures(self) -> Tensor:
        """(N, 3, H, W): the unit normal of the world as (n + 1) / 2, and nothing is white.

        Red faces +x, the object's left; green up; blue the front.

        Raises:
            UsageError: if the turn was made without normals.
        """
        if self.normal is None:
            raise UsageError("a turn must be made with normals=True to show them")
        return normal_pictures(self.normal, self.alpha)


@torch.no_grad()
def turn(
    render: Render,
    *,
    views: int = 8,
    size: int = 64,
    elevation: float = 15.0,
    distance: float = 3.0,
    fov: float = 40.0,
    normals: bool = False,
    at_once: int = 1,
) -> Turn:
    """Square views from evenly around the object, the first from its front, on towards its left.

    Only ``at_once`` views stand on the renderer's device at a time; the frames are gathered on the CPU, 20 bytes a
    pixel, 32 with normals.

    Args:
        render: pictures of cameras; it is called without randomness.
        size: of a picture's side, in pixels; any, odd ones too.
        elevation: degrees.
        distance: from the origin; cameras stand outside of the cube [-1, 1]^3.
        fov: degrees.

    Raises:
        UsageError: if there are no views, no pixels, or a camera stands inside the cube.
    """
    if size < 1 or at_once < 1:
        raise UsageError(f"size and at_once must be at least 1, got {size} and {at_once}")
    cameras = turntable(views, elevation=elevation, distance=distance, fov=fov)
    if bool((cameras.position.abs().amax(-1) <= 1).any()):
        raise UsageError(f"a camera must stand outside of the cube [-1, 1]^3, got the distance {distance}")
    pieces = []
    for first in range(0, views, at_once):
        seen = render(cameras[first : first + at_once], size, size, normals=normals)
        parts = (seen.image, seen.alpha, seen.depth, *([seen.normal] if seen.normal is not None else []))
        pieces.append([part.to("cpu", torch.float32) for part in parts])
    image, alpha, depth, *rest = (torch.cat(parts) for parts in zip(*pieces))
    return Turn(image, alpha, depth, rest[0] if rest else None, distance - 1, distance + 1)


def strip(images: Tensor, margin: int = 2) -> Tensor:
    """Pictures (N, 3, H, W) side by side on white, (3, H, W').

    Raises:
        UsageError: if there is none.
    """
    if images.ndim != 4 or not len(images):
        raise UsageError(f"a strip must have at least one picture (N, 3, H, W), got {(*images.shape,)}")
    return sheet(images, columns=len(images), margin=margin)


def depth_pictures(depth: Tensor, alpha: Tensor, near: float, far: float) -> Tensor:
    """Depth times alpha and alpha, both (N, 1, H, W), in colours on white, (N, 3, H, W).

    Raises:
        UsageError: if far is not beyond near.
    """
    if not near < far:
        raise UsageError(f"far must be beyond near, got {near} and {far}")
    share = 1 - (depth / alpha.clamp_min(EMPTY) - near) / (far - near)
    return on_white(viridis(share[:, 0]), alpha)


def normal_pictures(normal: Tensor, alpha: Tensor) -> Tensor:
    """Weighted normals (N, 3, H, W) and alpha (N, 1, H, W) in colours on white, (N, 3, H, W)."""
    unit = torch.nn.functional.normalize(normal, dim=1, eps=EMPTY)
    return on_white((unit + 1) / 2, alpha)


def viridis(share: Tensor) -> Tensor:
    """Shares in [0, 1], (N, H, W), as colours (N, 3, H, W), dark violet to bright yellow; others are clamped."""
    table = torch.tensor(VIRIDIS).to(share) / 255
    place = share.clamp(0, 1) * (len(table) - 1)
    below = place.floor().long().clamp_max(len(table) - 2)
    return torch.lerp(table[below], table[below + 1], (place - below)[..., None]).movedim(-1, 1)


def on_white(picture: Tensor, alpha: Tensor) -> Tensor:
    """What covers, before white."""
    return picture * alpha + (1 - alpha)
