"""Our cameras and viser's."""

from __future__ import annotations

import socket

import numpy as np
import pytest
import torch
from balls import Ball, BallRenderer

from modeseek.cameras import Cameras, Orbit, turntable
from modeseek.errors import UsageError
from modeseek.randomness import Streams
from modeseek.scene.browser import BEYOND, HOST, depth_along, from_viser, refuse_taken, to_viser

viser = pytest.importorskip("viser")


def test_a_camera_in_front_by_hand() -> None:
    """Viser's camera looks along its z, its y is down: half a turn about x looks along -z, upright."""
    half_turn = np.array([0.0, 1.0, 0.0, 0.0])
    camera = from_viser(half_turn, np.array([0.0, 0.0, 3.0]), np.pi / 4)
    assert torch.allclose(camera.pose, turntable(1, elevation=0.0).pose, atol=1e-6)
    assert float(camera.fov) == pytest.approx(45)


def test_it_is_scipys_rotation() -> None:
    rotation = pytest.importorskip("scipy.spatial.transform").Rotation
    for k in range(20):
        x, y, z, w = rotation.random(random_state=k).as_quat()
        camera = from_viser(np.array([w, x, y, z]) * 2, np.array([1.0, 2.0, 3.0]), 1.0)
        axes = rotation.from_quat([x, y, z, w]).as_matrix()
        # right is viser's right, up against its down, and it looks (-z) where viser's z points
        assert np.allclose(camera.pose[0, :3, 0], axes[:, 0], atol=1e-6)
        assert np.allclose(camera.pose[0, :3, 1], -axes[:, 1], atol=1e-6)
        assert np.allclose(camera.pose[0, :3, 2], -axes[:, 2], atol=1e-6)
        assert camera.position[0].tolist() == [1.0, 2.0, 3.0]
        # world to camera in OpenCV's axes is the inverse of viser's camera to world
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = axes, [1.0, 2.0, 3.0]
        assert np.allclose(camera.opencv()[0], np.linalg.inv(matrix), atol=1e-5)


def test_there_and_back() -> None:
    cameras = Orbit(elevation=(-80.0, 80.0), fov=(20.0, 90.0)).draw(Streams.for_batch(3, 9))
    back = [from_viser(*one) for one in to_viser(cameras)]
    assert torch.allclose(torch.cat([c.pose for c in back]), cameras.pose, atol=1e-5)
    assert torch.allclose(torch.cat([c.fov for c in back]), cameras.fov, atol=1e-4)


def test_depth_is_along_the_axis() -> None:
    """A wall of one distance along the axis: a ball so large that its front is nearly flat."""
    camera = Cameras.look_at([0.0], [0.0], [3.0], [60.0])
    seen = BallRenderer((Ball((0.0, 0.0, -1000.0), 1001.0),))(camera.to(torch.float64), 31, 47)
    depth = depth_along(seen, camera)
    assert depth.shape == (1, 31, 47)
    assert torch.allclose(depth, torch.full_like(depth, 2.0), atol=0.01)
    assert float((seen.depth[0, 0] - 2).max()) > 0.2  # the rays at the border are longer
    nothing = depth_along(BallRenderer((Ball(),))(camera, 31, 31), camera)
    assert float(nothing[0, 0, 0]) == BEYOND
    assert float(nothing[0, 15, 15]) == pytest.approx(2.5, abs=1e-3)


def test_a_port_in_use_is_one_sentence() -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UsageError, match=f"port must be free, but something else listens at 127.0.0.1:{port}"):
            refuse_taken(port)
    refuse_taken(port)  # free again
    for wrong in (-1, 65536):
        with pytest.raises(UsageError, match=f"port must be between 0 and 65535, got {wrong}"):
            refuse_taken(wrong)
