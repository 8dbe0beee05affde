"""Cameras: where a scene is seen from. One convention: right-handed, y up, a camera looks along its own -z."""

from modeseek.cameras.cameras import Cameras
from modeseek.cameras.direction import Direction
from modeseek.cameras.orbit import Orbit, turntable

__all__ = ["Cameras", "Direction", "Orbit", "turntable"]
