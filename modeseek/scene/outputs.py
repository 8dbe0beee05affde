"""What a finished run shows: a turntable, strips, the field, a mesh."""

from __future__ import annotations

import sys
from pathlib import Path

from modeseek.errors import UsageError
from modeseek.generators.nerf import NeRF
from modeseek.pictures import enlarge, png
from modeseek.runs import write_atomic
from modeseek.scene.config import SceneConfig
from modeseek.scene.export import write
from modeseek.scene.files import LAST, keep_field
from modeseek.scene.mesh import extract
from modeseek.scene.turntables import Turn, strip, turn
from modeseek.videos import video

SHOWN = 8  # views of the strips


def write_outputs(config: SceneConfig, nerf: NeRF, path: Path) -> None:
    """Write turntable, final, depth, normal, field and mesh of a scene into a run directory.

    A mesh that cannot be made is said on stderr and left out: the field is there to export it from later.
    """
    nerf.settle()
    shown = walk(config, nerf, SHOWN, normals=True)
    write_atomic(path / "final.png", png(strip(shown.image)))
    write_atomic(path / "final-large.png", png(enlarge(strip(shown.image), 2)))
    write_atomic(path / "depth.png", png(strip(shown.depth_pictures())))
    write_atomic(path / "normal.png", png(strip(shown.normal_pictures())))
    data, suffix = video(walk(config, nerf, config.turntable, size=turntable_size(nerf.size)).image)
    write_atomic(path / f"turntable{suffix}", data)
    keep_field(config, nerf.field, path / LAST)
    try:
        write(extract(nerf.field), path / "mesh.glb", "glb")
    except UsageError as error:
        print(f"note: no mesh.glb: {error}", file=sys.stderr)


def turntable_size(size: int) -> int:
    """Side of a video's frames: a small model's pictures four times as large, for the field has no pixels."""
    return max(size, min(4 * size, 256))


def walk(config: SceneConfig, nerf: NeRF, views: int, *, size: int | None = None, normals: bool = False) -> Turn:
    """Around the object in the middle of the configuration's ranges of cameras."""
    scene = config.scene
    elevation, distance, fov = (sum(ends) / 2 for ends in (scene.elevation, scene.distance, scene.fov))
    return turn(
        nerf.look,
        views=views,
        size=size or nerf.size,
        elevation=elevation,
        distance=distance,
        fov=fov,
        normals=normals,
    )
