"""Random cameras: where they may stand, how they are spread, and that each has its own stream."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import kstest

from modeseek.cameras import Orbit, turntable
from modeseek.errors import UsageError
from modeseek.randomness import Streams


def test_they_keep_to_the_ranges() -> None:
    orbit = Orbit((-10, 45), (-90, 90), (2, 3), (30, 50))
    cameras = orbit.draw(Streams.for_batch(0, 500))
    for values, (low, high) in zip(
        (cameras.elevation, cameras.azimuth, cameras.distance, cameras.fov), vars(orbit).values()
    ):
        assert low - 1e-3 <= float(values.min()) < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < float(values.max()) <= high + 1e-3


def test_they_are_uniform_on_the_sphere() -> None:
    """Archimedes: on a sphere the height is uniform, and so is the azimuth. Equation CAM-3."""
    cameras = Orbit((-90, 90), distance=(1, 1)).draw(Streams.for_batch(1, 2000))
    assert kstest(cameras.position[:, 1].numpy(), "uniform", args=(-1, 2)).pvalue > 1e-3
    assert kstest(cameras.azimuth.numpy(), "uniform", args=(-180, 360)).pvalue > 1e-3


def test_a_camera_does_not_depend_on_the_batch() -> None:
    orbit = Orbit()
    many, one = orbit.draw(Streams.for_batch(3, 8)), orbit.draw(Streams(3, [5]))
    assert torch.equal(many[[5]].pose, one.pose)
    assert not torch.equal(many[[4]].pose, one.pose)


def test_a_turntable() -> None:
    cameras = turntable(4, elevation=20, distance=2.5, fov=30)
    torch.testing.assert_close(cameras.position[1, 0], torch.tensor(2.5 * math.cos(math.radians(20))))
    torch.testing.assert_close(cameras.azimuth[:2], torch.tensor([0.0, 90.0]))
    torch.testing.assert_close(cameras.elevation, torch.full((4,), 20.0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: turntable(0), "at least 1 view"),
        (lambda: Orbit(elevation=(10, 0)), "elevation must be a range"),
        (lambda: Orbit(elevation=(0, 91)), "between -90 and 90"),
        (lambda: Orbit(distance=(0, 1)), "distance must be positive"),
        (lambda: Orbit(fov=(0, 1)), "between 0 and 180"),
        (lambda: Orbit(azimuth=(0, math.inf)), "azimuth must be a range"),
        (lambda: Orbit(azimuth=(math.nan, 0)), "azimuth must be a range"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, message) -> None:
    with pytest.raises(UsageError, match=message):
        call()
