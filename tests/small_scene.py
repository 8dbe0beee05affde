"""A scene of seconds, for tests of what comes after."""

from typing import Any

SMALL: dict[str, Any] = {
    "steps": 6,
    "sample_steps": 2,
    "refresh_every": 2,
    "guidance": 3.0,
    "views": 2,
    "samples": 12,
    "samples_start": 8,
    "rendered_start": 8,
    "coarse": 0.5,
    "plane_resolution": (4, 8),
    "plane_features": 4,
    "width": 8,
    "occupancy": 8,
    "turntable": 4,
    "snapshots": 3,
    "picture_every": 2,
    "checkpoint_every": 2,
    "view_prompts": False,
    "backdrop": "white",
}
