"""What our cameras and viser's page say to each other: ports, poses, frustums, depth."""

from __future__ import annotations

import socket
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modeseek.cameras import Cameras
from modeseek.errors import UsageError
from modeseek.generators.nerf.base import Rendered

HOST = "127.0.0.1"  # nobody else's machine
BEYOND = 150.0  # depth of what is empty; the page knows depths to 167


def refuse_taken(port: int) -> None:
    """Viser silently takes the next free port: say so before.

    Raises:
        UsageError: if nobody may listen at the port.
    """
    if not 0 <= port <= 65535:
        raise UsageError(f"port must be between 0 and 65535, got {port}")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that was just closed is free
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UsageError(taken(port)) from error


def taken(port: int) -> str:
    """The sentence for a port that cannot be had."""
    return f"the port must be free, but something else listens at {HOST}:{port} or it is reserved; choose another"


def from_viser(wxyz: np.ndarray[Any, Any], position: np.ndarray[Any, Any], fov: float) -> Cameras:
    """One camera of viser as ours.

    Args:
        wxyz: quaternion (4,) that turns a camera's axes, x right, y down, z forward, to the world's.
        position: (3,), in the world, whose y is up.
        fov: vertical, in radians.
    """
    import viser.transforms

    pose = torch.eye(4)
    turn = torch.from_numpy(viser.transforms.SO3(wxyz / np.linalg.norm(wxyz)).as_matrix())
    pose[:3, :3] = turn * torch.tensor([1.0, -1.0, -1.0])  # our camera looks along its own -z, its y is up
    pose[:3, 3] = torch.from_numpy(position)
    return Cameras(pose[None], torch.tensor([np.rad2deg(fov)], dtype=pose.dtype))


def to_viser(cameras: Cameras) -> list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], float]]:
    """The inverse of ``from_viser``, for each camera."""
    import viser.transforms

    pose = cameras.pose.double().cpu()
    turns = (pose[:, :3, :3] * torch.tensor([1.0, -1.0, -1.0])).numpy()
    angles = torch.deg2rad(cameras.fov.double().cpu()).tolist()
    return [
        (viser.transforms.SO3.from_matrix(turn).wxyz, place, fov)
        for turn, place, fov in zip(turns, pose[:, :3, 3].numpy(), angles)
    ]


def add_frustums(server: Any, cameras: Cameras) -> list[Any]:
    """A small frustum for each camera on a viser page."""
    return [
        server.scene.add_camera_frustum(
            f"/cameras/{k}", fov=fov, aspect=1.0, scale=0.12, thickness=0.004, wxyz=wxyz, position=position
        )
        for k, (wxyz, position, fov) in enumerate(to_viser(cameras))
    ]


def depth_along(picture: Rendered, camera: Cameras) -> Tensor:
    """Distance along the viewing axis, (B, H, W); ``BEYOND`` where less than half is covered."""
    ahead = -camera.pose[:, :3, 2].to(picture.directions)
    slant = torch.einsum("bhwi,bi->bhw", picture.directions, ahead)
    alpha = picture.alpha[:, 0]
    return torch.where(alpha > 0.5, picture.depth[:, 0] / alpha.clamp_min(0.5) * slant, BEYOND)
