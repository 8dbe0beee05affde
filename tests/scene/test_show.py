"""Export and view from the command line: of a run that is there, and of what is none."""

from __future__ import annotations

import shutil
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import trimesh
from small_scene import SMALL

from modeseek.randomness import Streams
from modeseek.scene.config import SceneConfig
from modeseek.scene.files import LAST, Kept, keep_field, open_field, snapshot
from modeseek.scene.later import ViewConfig
from modeseek.scene.run import TextToScene
from modeseek.scene.show import cameras_of, show


@pytest.fixture(scope="module")
def run(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "run"
    job = TextToScene.start(SceneConfig("red cat", **SMALL, prior=str(tiny), out=path))
    assert job.advance()
    return path


@pytest.mark.parametrize("kind", ["glb", "obj", "ply"])
def test_every_format(modeseek: Any, run: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / f"thing.{kind}"
    code, told, _ = modeseek("export", run, "--format", kind, "--threshold", 2, "--resolution", 24, "--out", out)
    assert code == 0
    assert told.startswith(f"{out}  (")
    assert "watertight" in told
    assert trimesh.load(out, force="mesh").is_watertight


def test_the_field_itself(modeseek: Any, run: Path, tmp_path: Path) -> None:
    """It opens without the run, and answers as the run's field does."""
    out = tmp_path / "field.safetensors"
    assert modeseek("export", run, "--format", "safetensors", "--out", out)[0] == 0
    assert out.read_bytes() == (run / LAST).read_bytes()
    field, points = open_field(out), torch.rand(50, 3) * 2 - 1
    with torch.no_grad():
        assert torch.equal(field.density(points)[0], Kept.open(run).nerf.field.density(points)[0])


def test_a_field_of_another_machine(run: Path, tmp_path: Path) -> None:
    """One that was trained on a device which is missing here opens on the CPU."""
    kept = Kept.open(run)
    keep_field(replace(kept.config, device="cuda"), kept.nerf.field, tmp_path / "field.safetensors")
    assert {p.device.type for p in open_field(tmp_path / "field.safetensors").parameters()} == {"cpu"}


def test_a_snapshot(modeseek: Any, run: Path, tmp_path: Path) -> None:
    (run / "fields" / "step-mine.safetensors").write_bytes(b"somebody's own")
    kept = Kept.open(run)
    assert kept.steps == (0, 2, 4, 6)
    files = []
    for step in (0, 6):
        out = tmp_path / f"{step}.safetensors"
        assert modeseek("export", run, "--format", "safetensors", "--step", step, "--out", out)[0] == 0
        files.append(out.read_bytes())
    assert files[0] != files[1]
    code, _, err = modeseek("export", run, "--step", 3)
    assert code == 1
    assert "the step must be one that" in err
    assert "(0, 2, 4, 6), got 3" in err


def test_what_has_no_surface_says_what_would_have_one(modeseek: Any, run: Path) -> None:
    code, _, err = modeseek("export", run, "--threshold", 1000)
    assert code == 2
    assert "nothing is denser than the threshold 1000" in err
    assert "would give something" in err


def test_a_mesh_too_large(modeseek: Any, run: Path) -> None:
    code, _, err = modeseek("export", run, "--resolution", 100000)
    assert code == 2
    assert "a mesh of resolution 100000 needs" in err
    assert "would fit" in err


@pytest.mark.parametrize("command", ["export", "view"])
def test_what_is_no_scene(modeseek: Any, tmp_path: Path, command: str) -> None:
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / "config.yaml").write_text("prompts: [red cat]\n")
    for folder, message in (("image", "must be a run of modeseek scene"), ("none", "must hold a config.yaml")):
        code, _, err = modeseek(command, tmp_path / folder)
        assert code == 1
        assert message in err


@pytest.mark.parametrize("command", ["export", "view"])
def test_no_such_device(modeseek: Any, run: Path, command: str) -> None:
    code, _, err = modeseek(command, run, "--device", "nowhere")
    assert code == 2
    assert "device must be one that torch knows, got 'nowhere'" in err


def test_a_run_without_a_field_yet(modeseek: Any, run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "fields")
    code, _, err = modeseek("export", tmp_path / "run")
    assert code == 1
    assert "the run must have kept a field" in err


def test_a_damaged_field(modeseek: Any, run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    snapshot(tmp_path / "run", 6).write_bytes(b"nothing")
    code, _, err = modeseek("export", tmp_path / "run")
    assert code == 1
    assert "must be a field of this run's config.yaml" in err


def test_nowhere_to_write(modeseek: Any, run: Path, tmp_path: Path) -> None:
    code, _, err = modeseek("export", run, "--threshold", 2, "--out", tmp_path / "a" / "b.glb")
    assert code == 1
    assert "there is no folder" in err


def test_the_cameras_on_the_page_are_those_of_the_run(run: Path) -> None:
    kept = Kept.open(run)
    shown, streams = cameras_of(kept.config, steps=3), Streams.for_batch(kept.config.seed, 2)
    for k, step in enumerate((0, 2, 4)):  # the cameras of a target stay for two steps
        assert torch.equal(shown[2 * k : 2 * k + 2].pose, kept.nerf.cameras(streams.at(step + 1)).pose)


def test_a_port_that_is_taken(modeseek: Any, run: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, _, err = modeseek("view", run, "--port", taken.getsockname()[1])
    assert code == 2
    assert "port" in err
    assert len(err.splitlines()) == 1


def test_the_page_is_there_and_goes(run: Path) -> None:
    from urllib.request import urlopen

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    seen: list[bytes] = []

    def say(line: str) -> None:
        assert f"http://127.0.0.1:{port}" in line
        seen.append(urlopen(f"http://127.0.0.1:{port}", timeout=10).read(200))

    show(ViewConfig(run, port=port, seconds=1.0), say=say)
    assert b"<html" in seen[0].lower()
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", port), timeout=2):
        pass
