"""Pinhole cameras: a pose and a field of view; rays out of them, and the conventions of other programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from modeseek.cameras.direction import Direction
from modeseek.errors import UsageError


@dataclass(frozen=True)
class Cameras:
    """Pinhole cameras. The world is right-handed with y up; an object faces +z, its own left is +x.

    A camera looks along its own -z, its x points right and its y up in the picture (OpenGL's and Blender's camera).
    Where it stands is equation CAM-1, where a point is seen CAM-2.

    Attributes:
        pose: camera to world, (B, 4, 4): a rotation's columns are the camera's axes, then its position.
        fov: vertical field of view in degrees, (B,); the picture's sides have the ratio of its pixels.

    Raises:
        UsageError: if the shapes do not fit, there is no camera, a rotation is none, or a field of view is not in
            (0, 180).
    """

    pose: Tensor
    fov: Tensor

    def __post_init__(self) -> None:
        b = self.pose.shape[0] if self.pose.ndim == 3 else 0
        if b < 1 or self.pose.shape != (b, 4, 4) or self.fov.shape != (b,):
            raise UsageError(
                "cameras must be at least one pose (B, 4, 4) and as many fields of view (B,), "
                f"got {(*self.pose.shape,)} and {(*self.fov.shape,)}"
            )
        if not bool(((self.fov > 0) & (self.fov < 180)).all()):
            raise UsageError(f"a field of view must be between 0 and 180 degrees, got {self.fov.tolist()}")
        turn = self.pose[:, :3, :3].double()
        off = (turn @ turn.mT - torch.eye(3, dtype=turn.dtype, device=turn.device)).abs().amax()
        if not float(off) < 1e-4 or not bool((torch.linalg.det(turn) > 0).all()):
            raise UsageError("a pose must hold a right-handed rotation and a finite position")

    @classmethod
    def look_at(
        cls,
        azimuth: Tensor | Sequence[float],
        elevation: Tensor | Sequence[float],
        distance: Tensor | Sequence[float],
        fov: Tensor | Sequence[float],
        centre: Tensor | Sequence[float] = (0.0, 0.0, 0.0),
    ) -> Cameras:
        """Cameras on spheres around ``centre`` that look at it, upright; straight above, up in the picture is away.

        Args:
            azimuth: degrees, (B,); 0 stands on +z, in front of the object, 90 on +x.
            elevation: degrees, (B,); 90 stands on +y.
            distance: from the centre, (B,).
            fov: vertical, degrees, (B,).
            centre: (3,) or (B, 3).

        Raises:
            UsageError: if a distance is not positive: there is no direction to look in.
        """
        parts = torch.stack(torch.broadcast_tensors(*map(_vector, (azimuth, elevation, distance, fov))))  # type: ignore[no-untyped-call]
        az, el, far, angle = parts
        if az.ndim != 1 or not len(az):
            raise UsageError(f"azimuth, elevation, distance and fov must be (B,) with B at least 1, got {(*az.shape,)}")
        if not bool((far > 0).all()) or not bool(far.isfinite().all()):
            raise UsageError(f"a camera's distance must be positive and finite, got {far.tolist()}")
        az, el = torch.deg2rad(az), torch.deg2rad(el)
        zero = torch.zeros_like(az)
        back = torch.stack([el.cos() * az.sin(), el.sin(), el.cos() * az.cos()], -1)
        right = torch.stack([az.cos(), zero, -az.sin()], -1)  # stays defined straight above
        up = torch.linalg.cross(back, right)
        middle = torch.as_tensor(centre, dtype=back.dtype, device=back.device)
        pose = torch.eye(4, dtype=back.dtype, device=back.device).repeat(len(az), 1, 1)
        pose[:, :3] = torch.stack([right, up, back, middle + far[:, None] * back], -1)
        return cls(pose, angle.clone())

    def __len__(self) -> int:
        return self.pose.shape[0]

    def __getitem__(self, rows: slice | Sequence[int] | Tensor) -> Cameras:
        """Some of the cameras."""
        return Cameras(self.pose[rows], self.fov[rows])

    @property
    def position(self) -> Tensor:
        """(B, 3)."""
        return self.pose[:, :3, 3]

    @property
    def distance(self) -> Tensor:
        """From the origin, (B,)."""
        return self.position.square().sum(-1).sqrt()

    @property
    def azimuth(self) -> Tensor:
        """Around the origin, degrees in (-180, 180], (B,)."""
        x, _, z = self.position.unbind(-1)
        return torch.rad2deg(torch.atan2(x, z))

    @property
    def elevation(self) -> Tensor:
        """Above the origin, degrees, (B,)."""
        x, y, z = self.position.unbind(-1)
        return torch.rad2deg(torch.atan2(y, torch.hypot(x, z)))

    @property
    def direction(self) -> Direction:
        """Where they stand, for ``modeseek.priors.ViewPrompts``."""
        return Direction(self.azimuth, self.elevation)

    def to(self, *where: Any) -> Cameras:
        """On another device, in another type."""
        return replace(self, pose=self.pose.to(*where), fov=self.fov.to(*where))

    def translated(self, offset: Tensor | Sequence[float]) -> Cameras:
        """Moved by ``offset`` (3,) or (B, 3), in the world's units, looking the same way."""
        pose = self.pose.clone()
        pose[:, :3, 3] += torch.as_tensor(offset, dtype=pose.dtype, device=pose.device)
        return replace(self, pose=pose)

    def rays(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """One ray through the centre of each pixel, the picture's rows from its top.

        Returns:
            origins and unit directions, (B, height, width, 3), in the world.

        Raises:
            UsageError: if there is no pixel.
        """
        if height < 1 or width < 1:
            raise UsageError(f"height and width must be at least 1, got {height} and {width}")
        v = 1 - (torch.arange(height).to(self.pose) + 0.5) * (2 / height)  # 1 at the top
        u = ((torch.arange(width).to(self.pose) + 0.5) * (2 / width) - 1) * (width / height)
        v, u = torch.meshgrid(v, u, indexing="ij")
        half = torch.tan(torch.deg2rad(self.fov) / 2)[:, None, None]
        seen = torch.stack([u * half, v * half, -torch.ones_like(half * u)], -1)
        seen = torch.nn.functional.normalize(seen, dim=-1)
        directions = torch.einsum("bij,bhwj->bhwi", self.pose[:, :3, :3], seen)
        return self.position[:, None, None].expand_as(directions), directions

    def intrinsics(self, height: int, width: int) -> Tensor:
        """OpenCV's camera matrices, (B, 3, 3), in pixels; the centre of the top left pixel is at (0.5, 0.5)."""
        focal = height / (2 * torch.tan(torch.deg2rad(self.fov) / 2))
        matrix = torch.zeros(len(self), 3, 3, dtype=self.pose.dtype, device=self.pose.device)
        matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, 2, 2] = focal, focal, 1
        matrix[:, 0, 2], matrix[:, 1, 2] = width / 2, height / 2
        return matrix

    def opencv(self) -> Tensor:
        """World to camera as OpenCV and COLMAP write it, (B, 4, 4): x right, y down, looking along +z.

        The world stays as it is, y up.
        """
        matrix: Tensor = torch.linalg.inv(self.pose @ _axes(self.pose, (1, -1, -1)))
        return matrix

    @classmethod
    def from_opencv(cls, matrix: Tensor, fov: Tensor) -> Cameras:
        """The inverse of ``opencv``: world to camera (B, 4, 4), and the vertical field of view in degrees (B,)."""
        return cls(torch.linalg.inv(matrix) @ _axes(matrix, (1, -1, -1)), fov)

    def blender(self) -> Tensor:
        """``matrix_world`` of Blender's cameras, (B, 4, 4): the world's z is up, an object faces -y, its left is +x.

        Blender's ``angle_y`` is the field of view in radians.
        """
        return _z_up(self.pose) @ self.pose

    @classmethod
    def from_blender(cls, matrix: Tensor, fov: Tensor) -> Cameras:
        """The inverse of ``blender``."""
        return cls(_z_up(matrix).mT @ matrix, fov)


def _vector(values: Tensor | Sequence[float]) -> Tensor:
    return torch.as_tensor(values, dtype=None if isinstance(values, Tensor) else torch.get_default_dtype())


def _axes(like: Tensor, signs: tuple[float, float, float]) -> Tensor:
    return torch.diag(torch.tensor([*signs, 1.0], dtype=like.dtype, device=like.device))


def _z_up(like: Tensor) -> Tensor:
    """(x, y, z) with y up to (x, -z, y) with z up."""
    rows = [[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]]
    return torch.tensor(rows, dtype=like.dtype, device=like.device)
