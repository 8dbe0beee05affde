"""``modeseek view`` and ``modeseek export``: a finished or running scene, without its model."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf

import torch

from modeseek.cameras import Cameras, Orbit
from modeseek.errors import RunError
from modeseek.generators.nerf.scene import CAMERAS
from modeseek.randomness import Streams
from modeseek.runs import write_atomic
from modeseek.scene.config import SceneConfig
from modeseek.scene.export import encode
from modeseek.scene.files import Kept, keep_field
from modeseek.scene.later import ExportConfig, ViewConfig
from modeseek.scene.mesh import Mesh, extract
from modeseek.scene.viewer import Viewer

FLOATERS = 0.01  # of the page's mesh


def export(config: ExportConfig) -> str:
    """Write the file; a line about it.

    Raises:
        RunError: if the run is none of a scene or has no such snapshot.
        UsageError: if there is no surface at the threshold, or it does not fit into memory.
    """
    kept = Kept.open(config.run, config.device, config.step)
    stem = "field" if config.format == "safetensors" else "mesh"
    out = config.out or config.run / f"{stem}.{config.format}"
    if not out.absolute().parent.is_dir():
        raise RunError(f"{out} must be writable: there is no folder {out.parent}")
    if config.format == "safetensors":
        keep_field(kept.config, kept.nerf.field, out)
        return str(out)
    mesh = extract(kept.nerf.field, resolution=config.resolution, threshold=config.threshold, floaters=config.floaters)
    write_atomic(out, encode(mesh, config.format))
    return f"{out}  ({about(mesh)})"


def about(mesh: Mesh) -> str:
    """What a mesh is like, for people."""
    shut = f"{mesh.open_edges} open edges, where parts touch" if mesh.open_edges else "watertight"
    return f"{len(mesh.faces)} faces, {shut}, {mesh.volume / 8:.1%} of the cube"


def show(config: ViewConfig, *, say: Callable[[str], None] = print) -> None:
    """Serve the page until Ctrl-C, or for so many seconds; a run that still goes on brings new snapshots.

    Raises:
        RunError: if the run is none of a scene.
        UsageError: if the port is taken, or viser is not installed.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    kept = Kept.open(config.run, config.device)
    viewer = Viewer(
        kept.nerf.look,
        port=config.port,
        mesh=lambda resolution: extract(kept.nerf.field, resolution=resolution, floaters=FLOATERS),
        checkpoints=kept.steps,
        load=kept.load,
        cameras=cameras_of(kept.config),
    )
    say(f"{kept.config.prompt}: {viewer.url} (Ctrl-C closes it)")
    ends = time.monotonic() + (config.seconds or inf)
    try:
        while time.monotonic() < ends and not viewer.wait(min(1.0, max(0.0, ends - time.monotonic()))):
            kept.find()
            viewer.extend(kept.steps)
    except KeyboardInterrupt:
        say("closed")
    finally:
        viewer.close()


def cameras_of(config: SceneConfig, steps: int = 4) -> Cameras:
    """Those of the first steps of a run that have new ones."""
    scene, streams = config.scene, Streams.for_batch(config.seed, config.scene.views)
    orbit = Orbit(scene.elevation, config.azimuth, scene.distance, scene.fov)
    drawn = [orbit.draw(streams.at(k * config.settings.refresh_every).branch(CAMERAS)) for k in range(steps)]
    return Cameras(torch.cat([c.pose for c in drawn]), torch.cat([c.fov for c in drawn]))
