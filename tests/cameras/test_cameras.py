"""Cameras: where they stand, what they look at, and what other programs call them."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modeseek.cameras import Cameras
from modeseek.errors import UsageError

DOUBLE = torch.float64


def look(azimuth: float, elevation: float, distance: float = 3.0, fov: float = 40.0) -> Cameras:
    return Cameras.look_at(*(torch.tensor([v], dtype=DOUBLE) for v in (azimuth, elevation, distance, fov)))


ANGLES = [(0, 0), (90, 0), (180, 10), (-90, -20), (37, 45), (10, 90), (200, -90)]


@pytest.mark.parametrize(
    ("azimuth", "elevation", "position"),
    [(0, 0, (0, 0, 3)), (90, 0, (3, 0, 0)), (180, 0, (0, 0, -3)), (-90, 0, (-3, 0, 0)), (0, 90, (0, 3, 0))],
)
def test_where_it_stands(azimuth, elevation, position) -> None:
    """In front is +z, the object's left is +x, above is +y. Equation CAM-1."""
    torch.testing.assert_close(look(azimuth, elevation).position[0], torch.tensor(position, dtype=DOUBLE))


@pytest.mark.parametrize(("azimuth", "elevation"), ANGLES)
def test_it_looks_at_the_middle_upright(azimuth, elevation) -> None:
    cameras = look(azimuth, elevation)
    right, up, back = cameras.pose[0, :3, :3].unbind(-1)
    torch.testing.assert_close(back * 3, cameras.position[0])  # it looks along -z, at the origin
    torch.testing.assert_close(torch.linalg.cross(right, up), back)  # right-handed
    assert abs(float(right[1])) < 1e-12  # level
    assert float(up[1]) > -1e-12  # not on its head
    origins, directions = cameras.rays(5, 5)
    torch.testing.assert_close(origins[0, 2, 2] + 3 * directions[0, 2, 2], torch.zeros(3, dtype=DOUBLE))


@pytest.mark.parametrize(("azimuth", "elevation"), [(a, e) for a, e in ANGLES if abs(e) < 90])
def test_it_knows_its_angles_again(azimuth, elevation) -> None:
    cameras = look(azimuth, elevation, 2.5)
    assert float(cameras.elevation) == pytest.approx(elevation, abs=1e-9)
    assert float((cameras.azimuth - azimuth + 180) % 360 - 180) == pytest.approx(0, abs=1e-9)
    assert float(cameras.distance) == pytest.approx(2.5)
    assert torch.equal(cameras.direction.azimuth, cameras.azimuth)


def test_the_centre_may_be_elsewhere() -> None:
    moved = Cameras.look_at([20.0], [10.0], [3.0], [40.0], centre=(1.0, 2.0, 3.0))
    torch.testing.assert_close(moved.pose, Cameras.look_at([20.0], [10.0], [3.0], [40.0]).translated((1, 2, 3)).pose)


def test_rays_of_the_corners() -> None:
    """The field of view is vertical, from edge to edge; pixels are square, rays go through their centres."""
    _, directions = look(0, 0, fov=90).rays(2, 4)
    top_left = directions[0, 0, 0] / -directions[0, 0, 0, 2]
    torch.testing.assert_close(top_left, torch.tensor([-1.5, 0.5, -1.0], dtype=DOUBLE))
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(1, 2, 4, dtype=DOUBLE))
    assert float(directions[0, 1, 0, 1]) < 0  # rows go down


@pytest.mark.parametrize(("height", "width"), [(37, 53), (64, 64), (1, 1)])
def test_opencv_projects_to_the_pixel(height, width) -> None:
    """A point on a pixel's ray comes back to its centre by the matrices that OpenCV would take. Equation CAM-2."""
    cameras = Cameras.look_at([20.0, -100.0], [10.0, 60.0], [3.0, 2.0], [40.0, 55.0])
    cameras = cameras.to(DOUBLE)
    origins, directions = cameras.rays(height, width)
    points = origins + 2.3 * directions
    row, column = height // 3, width // 4
    world = torch.cat([points[:, row, column], torch.ones(2, 1, dtype=DOUBLE)], 1)
    seen = torch.einsum("bij,bj->bi", cameras.opencv(), world)[:, :3]
    assert bool((seen[:, 2] > 0).all())  # in front of the camera
    pixel = torch.einsum("bij,bj->bi", cameras.intrinsics(height, width), seen / seen[:, 2:])[:, :2]
    torch.testing.assert_close(pixel, torch.tensor([[column + 0.5, row + 0.5]], dtype=DOUBLE).expand(2, 2))


def test_opencv_and_back() -> None:
    cameras = Cameras.look_at([20.0, -100.0], [10.0, 60.0], [3.0, 2.0], [40.0, 55.0]).to(DOUBLE)
    torch.testing.assert_close(Cameras.from_opencv(cameras.opencv(), cameras.fov).pose, cameras.pose)


def test_blender() -> None:
    """Blender's own front view: the camera on -y, turned up by 90 degrees about x."""
    matrix = look(0, 0).blender()[0]
    quarter = torch.tensor([[1, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=DOUBLE)
    torch.testing.assert_close(matrix[:3, :3], quarter)
    torch.testing.assert_close(matrix[:3, 3], torch.tensor([0, -3, 0], dtype=DOUBLE))
    torch.testing.assert_close(look(0, 90).blender()[0, :3, 3], torch.tensor([0, 0, 3], dtype=DOUBLE))  # z is up
    torch.testing.assert_close(look(90, 0).blender()[0, :3, 3], torch.tensor([3, 0, 0], dtype=DOUBLE))
    cameras = look(37, 20)
    torch.testing.assert_close(Cameras.from_blender(cameras.blender(), cameras.fov).pose, cameras.pose)


@given(st.floats(-720, 720), st.floats(-90, 90), st.floats(0.1, 100))
def test_any_camera_is_a_rotation_and_a_place(azimuth, elevation, distance) -> None:
    cameras = look(azimuth, elevation, distance)  # the constructor checks the rotation
    assert float(cameras.position.norm()) == pytest.approx(distance)
    assert float(cameras.position[0, 1]) == pytest.approx(distance * math.sin(math.radians(elevation)), abs=1e-9)


def test_some_of_them() -> None:
    cameras = Cameras.look_at([0.0, 10.0, 20.0], [0.0], [3.0], [40.0])
    assert len(cameras) == 3
    assert len(cameras[1:]) == 2
    torch.testing.assert_close(cameras[[2]].azimuth, torch.tensor([20.0]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: look(0, 0, 0.0), "distance must be positive"),
        (lambda: look(0, 0, math.inf), "distance must be positive and finite"),
        (lambda: look(0, 0, fov=180.0), "between 0 and 180 degrees"),
        (lambda: look(0, 0, fov=0.0), "between 0 and 180 degrees"),
        (lambda: Cameras.look_at([], [], [], []), "at least 1"),
        (lambda: look(0, 0).rays(0, 4), "height and width must be at least 1"),
        (lambda: Cameras(torch.eye(4), torch.ones(1)), r"at least one pose \(B, 4, 4\)"),
        (lambda: Cameras(torch.ones(1, 4, 4), torch.ones(1)), "right-handed rotation"),
        (lambda: Cameras(torch.diag(torch.tensor([1.0, 1, -1, 1]))[None], torch.ones(1)), "right-handed rotation"),
        (lambda: Cameras(torch.full((1, 4, 4), math.nan), torch.ones(1)), "right-handed rotation"),
    ],
)
def test_what_is_no_camera_is_refused(call, message) -> None:
    with pytest.raises(UsageError, match=message):
        call()
