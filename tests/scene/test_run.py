"""A whole scene: what it leaves on the disk, and that a stopped one goes on as if it had never stopped."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from killing import assert_same_run, killed_again_and_again, metrics
from PIL import Image
from small_scene import SMALL

from modeseek import text2image
from modeseek.config import from_yaml
from modeseek.errors import RunError, UsageError
from modeseek.scene import outputs, run
from modeseek.scene.config import SceneConfig, resolve_scene
from modeseek.scene.run import TextToScene

Start = Callable[..., TextToScene]
OPENED: dict[str, Any] = {}


@pytest.fixture(autouse=True)
def opened_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A prior has no state: each is opened once for all tests of this file."""

    def opened(config: SceneConfig) -> Any:
        if config.prior not in OPENED:
            OPENED[config.prior] = text2image.build_prior(config)
        return OPENED[config.prior]

    monkeypatch.setattr(run, "build_prior", opened)


@pytest.fixture
def start(tiny: Path, tmp_path: Path) -> Start:
    """Start a small scene in a new folder of the name."""

    def build(name: str = "run", **options: Any) -> TextToScene:
        told = {**SMALL, "prior": str(tiny), "out": tmp_path / name, **options}
        return TextToScene.start(SceneConfig("red cat", **told))

    return build


def whole(job: TextToScene) -> Path:
    assert job.advance()
    return job.run.path


# -- what a run leaves -------------------------------------------------------------------------------------------------


def test_the_files_of_a_run(start: Start, tiny: Path, tmp_path: Path) -> None:
    path = whole(start())
    files = {"config.yaml", "metrics.jsonl", "checkpoint.json", "checkpoint-000006.safetensors", "pictures", "fields"}
    files |= {"evolution.webp", "final.png", "final-large.png", "depth.png", "normal.png", "turntable.mp4"}
    assert {p.name for p in path.iterdir()} - {"mesh.glb"} == files | {"field.safetensors"}
    assert [p.name for p in sorted((path / "fields").iterdir())] == [f"step-{k:06d}.safetensors" for k in (0, 2, 4, 6)]
    assert [p.name for p in sorted((path / "pictures").iterdir())] == [f"step-{k:06d}.png" for k in (0, 2, 4, 6)]
    config = from_yaml((path / "config.yaml").read_text(), "config.yaml", SceneConfig)
    told = SceneConfig("red cat", **{**SMALL, "prior": str(tiny), "out": tmp_path / "run", "size": 16})
    assert config == resolve_scene(told) == resolve_scene(config)
    rows = metrics(path)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["nfe"] for row in rows] == [4, 4, 8, 8, 12, 12]  # two guided steps of the sampler, every second step
    strip = Image.open(path / "final.png")
    assert strip.size == (outputs.SHOWN * 18 - 2, 16)
    assert Image.open(path / "depth.png").size == Image.open(path / "normal.png").size == strip.size
    assert (path / "final.png").read_bytes() != (path / "pictures" / "step-000000.png").read_bytes()


def test_the_plan_is_what_is_spent(start: Start) -> None:
    for k, options in enumerate([{}, {"n_samples": 2}, {"method": "sds", "refresh_every": 1}, {"method": "sdi"}]):
        job = start(f"run-{k}", **options)
        whole(job)
        assert job.nfe() == job.progress.nfe == metrics(job.run.path)[-1]["nfe"] > 0


def test_the_same_seed_and_another(start: Start) -> None:
    first, again, other = whole(start("a")), whole(start("b")), whole(start("c", seed=1))
    assert_same_run(first, again)
    assert (first / "final.png").read_bytes() != (other / "final.png").read_bytes()


@pytest.mark.parametrize(
    "options",
    [
        {"encoding": "hash-grid", "levels": 2, "table": 64, "base": 4},
        {"backdrop": "mlp"},
        {"backdrop": "colour"},
        {"view_prompts": True},
        {"view_prompts": True, "perp_neg": True},
        {"view_prompts": True, "method": "vsd", "refresh_every": 1},
        {"method": "vsd", "refresh_every": 1},
        {"method": "sds", "loss": "image", "refresh_every": 1},
        {"sparsity": 1.0, "opaque": 1.0, "orientation": 1.0, "smoothness": 1.0},
        {"distortion": 10.0},
        {"occupancy": 0},
        {"importance": 4},
        {"recompute": True, "chunk": 1024},
    ],
    ids=lambda options: "-".join(options),
)
def test_options_run_and_resume(start: Start, options: dict[str, Any]) -> None:
    """Every choice makes another scene than the plain one, and resumes to the same bits."""
    path = whole(start("whole", **options))
    stopped = start("stopped", **options)
    assert not stopped.advance(stop_after=3)
    assert whole(TextToScene.resume(stopped.run.path))
    assert_same_run(path, stopped.run.path)
    if "recompute" not in options:
        assert (path / "final.png").read_bytes() != (whole(start("plain")) / "final.png").read_bytes()


def test_views_are_prompted_by_their_side(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    job = start(view_prompts=True, views=3)
    cameras = job.nerf.cameras(job.job.rng.at(0))
    told = job.job.cond(cameras)  # type: ignore[operator]
    sides = ("front", "side", "back", "overhead")
    rows = {s: job.prior.encode_prompt([f"red cat, {s} view"]) for s in sides}
    turn, high = cameras.direction.turn, cameras.elevation
    for k in range(3):
        side = "overhead" if high[k] > 60 else "front" if turn[k] < 45 else "back" if turn[k] > 135 else "side"
        assert torch.equal(told[k], rows[side][0])  # type: ignore[index]


@pytest.mark.parametrize("backdrop", ["mlp", "colour"])
def test_the_background_learns_at_a_tenth_of_the_rate(start: Start, backdrop: str) -> None:
    """To the end, so that nothing on the way sets one rate for all."""
    job = start(backdrop=backdrop, lr=1e-2)
    whole(job)
    names = {id(p): name for name, p in job.nerf.named_parameters()}
    groups = [(g["lr"], {names[id(p)] for p in g["params"]}) for g in job.job.optimiser.param_groups]
    behind = {n for n in names.values() if n.startswith("renderer.field.behind.")}
    assert groups == [(1e-2, set(names.values()) - behind), (1e-3, behind)]
    assert behind


def test_the_mesh_is_that_of_the_field(start: Start, modeseek: Any) -> None:
    """A scene of hardly any steps is the soft ball that it began as: round, in the middle, of the density's size."""
    path = whole(start(steps=2, lr=1e-6, ball=0.5))
    assert not (path / "mesh.glb").exists()  # nothing is dense yet; that is said, and no error
    code, out, err = modeseek("export", path, "--threshold", 2, "--resolution", 32)
    assert (code, err) == (0, "")
    assert "watertight" in out
    mesh = trimesh.load(path / "mesh.glb", force="mesh")
    assert mesh.is_watertight
    # softplus(10 (1 - r / 0.5)) = 2
    radius = np.linalg.norm(mesh.vertices, axis=1)
    expected = 0.5 * (1 - np.log(np.expm1(2)) / 10)
    assert np.abs(radius - expected).max() < 0.06
    assert np.abs(mesh.center_mass).max() < 0.02


# -- a run that stops --------------------------------------------------------------------------------------------------


MANY = {"steps": 24, "checkpoint_every": 3, "picture_every": 12}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_kill_9_and_resume(tiny: Path, tmp_path: Path) -> None:
    """Before the first checkpoint, between two, while one is written: the same bytes in the end."""
    told = {**SMALL, **MANY, "prior": str(tiny)}
    expected = whole(TextToScene.start(SceneConfig("red cat", **told, out=tmp_path / "whole")))
    path = tmp_path / "run"
    flags = [str(w) for k, v in {**told, "out": path}.items() for w in _flag(k, v)]
    killed_again_and_again(path, [(1, False), (2, True), (7, False), (11, True)], ["scene", "red cat", *flags])
    resumed = TextToScene.resume(path)
    assert 9 <= resumed.progress.step < 24
    assert_same_run(expected, whole(resumed))


def _flag(name: str, value: object) -> list[object]:
    if isinstance(value, tuple):
        return [f"--{name.replace('_', '-')}", *value]
    return [f"--{name.replace('_', '-')}", value]


def test_another_model_is_refused(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    job = start()
    job.advance(stop_after=2)
    path = job.run.path
    state = (path / "checkpoint.json").read_text()
    (path / "checkpoint.json").write_text(state.replace(job.prior.fingerprint, "0" * 16))
    with pytest.raises(RunError, match="the prior is another one"):
        TextToScene.resume(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 15}, "size must be a multiple of 2, got 15"),
        ({"chunk": 4}, "chunk must be from 12 points, the samples of one ray, to 67108864, got 4"),
        ({"chunk": 2**40}, "chunk must be from"),
    ],
)
def test_what_cannot_run_leaves_no_directory(start: Start, tmp_path: Path, options: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        start(**options)
    assert not (tmp_path / "run").exists()


def test_the_command_says_what_it_made(modeseek: Any, tiny: Path, tmp_path: Path) -> None:
    told = {**SMALL, "steps": 2, "prior": str(tiny), "out": tmp_path / "run"}
    code, out, _ = modeseek("scene", "red cat", *(str(w) for k, v in told.items() for w in _flag(k, v)))
    assert code == 0
    assert out.startswith("msd, proximal, preset quick: 2 steps, 4 evaluations per view; about")
    assert "beside it turntable." in out
    assert f"modeseek view {tmp_path / 'run'}" in out
    code, out, _ = modeseek("resume", tmp_path / "run")  # it is at its end already
    assert code == 0
    assert "2 steps done" in out
