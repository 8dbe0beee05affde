"""Random cameras around an object, and an even round of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from modeseek.cameras.cameras import Cameras
from modeseek.errors import UsageError
from modeseek.randomness import Streams

Range = tuple[float, float]


@dataclass(frozen=True)
class Orbit:
    """Ranges that cameras are drawn from; each looks at the origin.

    Azimuth, distance and field of view are uniform; elevation so that cameras are uniform on the sphere's band (CAM-3).

    Attributes:
        elevation: degrees.
        azimuth: degrees; 0 is in front.
        distance: from the origin.
        fov: vertical field of view, degrees.

    Raises:
        UsageError: if a range is empty or leaves what a camera may be.
    """

    elevation: Range = (-10.0, 45.0)
    azimuth: Range = (-180.0, 180.0)
    distance: Range = (3.0, 3.0)
    fov: Range = (40.0, 40.0)

    def __post_init__(self) -> None:
        for name, (low, high) in vars(self).items():
            if not (low <= high and math.isfinite(low) and math.isfinite(high)):
                raise UsageError(f"{name} must be a range from low to high, got {low} to {high}")
        if not -90 <= self.elevation[0] <= self.elevation[1] <= 90:
            raise UsageError(f"elevation must be between -90 and 90 degrees, got {self.elevation}")
        if self.distance[0] <= 0:
            raise UsageError(f"a camera's distance must be positive, got {self.distance}")
        if not 0 < self.fov[0] <= self.fov[1] < 180:
            raise UsageError(f"a field of view must be between 0 and 180 degrees, got {self.fov}")

    def draw(self, rng: Streams) -> Cameras:
        """One camera for each stream: the same whatever other streams are in the batch."""
        az, el, far, fov = rng.uniform((len(rng), 4)).unbind(-1)
        low, high = (math.sin(math.radians(e)) for e in self.elevation)
        elevation = torch.rad2deg(torch.asin((low + (high - low) * el).clamp(-1, 1)))
        return Cameras.look_at(
            _between(self.azimuth, az), elevation, _between(self.distance, far), _between(self.fov, fov)
        )


def _between(ends: Range, share: torch.Tensor) -> torch.Tensor:
    return ends[0] + (ends[1] - ends[0]) * share


def turntable(
    views: int, *, elevation: float = 15.0, distance: float = 3.0, fov: float = 40.0, first: float = 0.0
) -> Cameras:
    """Cameras evenly around the object, from azimuth ``first`` on towards its left.

    Raises:
        UsageError: if there are no views.
    """
    if views < 1:
        raise UsageError(f"there must be at least 1 view, got {views}")
    azimuth = first + 360.0 / views * torch.arange(views)
    same = torch.ones(views)
    return Cameras.look_at(azimuth, elevation * same, distance * same, fov * same)
