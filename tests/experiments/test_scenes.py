"""Scenes by SDS and MSD: what is run, what is measured, and that a killed one goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from modeseek.compare.prompts import NAMES
from modeseek.errors import RunError
from modeseek.experiments import scenes as module
from modeseek.experiments.config import ReproduceConfig
from modeseek.experiments.scenes import METHODS, Line, Scenes, main, verdict
from modeseek.scene.config import resolve_scene

SMALL = {"steps": 2, "views": 1, "samples": 8, "samples_start": 8, "rendered": 8, "rendered_start": 8, "turntable": 1}
SMALL |= {"width": 8, "plane_features": 2, "occupancy": 4, "sparsity": 0.0, "sample_steps": 1, "refresh_every": 2}
SMALL |= {"snapshots": 1, "smoothness": 0.0, "opaque": 0.0}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenes of seconds; their cells are those of the small ones."""
    real = Scenes.scene
    monkeypatch.setattr(module, "SHOWN", 4)
    monkeypatch.setattr(Scenes, "scene", lambda self, *cell: replace(real(self, *cell), **SMALL))


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.txt"
    path.write_text("hamburger\nred heart\n")
    return path


def test_both_methods_make_the_same_scenes_at_the_same_evaluations(tmp_path: Path) -> None:
    scenes = Scenes.open(ReproduceConfig("scenes", out=tmp_path))
    counts = set()
    for method in METHODS:
        assert scenes.prompts(method) == NAMES[:8]
        config = scenes.scene(method, "hamburger", 0)
        assert (config.seed, config.method, config.prompt) == (0, method, "hamburger")
        counts.add(module.evaluations(config, scenes.prior))
    assert len(counts) == 1
    full = Scenes(ReproduceConfig("scenes", out=tmp_path, full=True), scenes.book, scenes.prior, scenes.clip, None)  # type: ignore[arg-type]
    assert (full.prompts("sds"), full.prompts("msd")) == (NAMES[:8], NAMES)


@pytest.mark.usefixtures("small")
def test_the_table_and_that_it_is_made_once(
    tmp_path: Path, prompts: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ReproduceConfig("scenes", out=tmp_path / "out", prompts=prompts)
    assert main(config) == 0
    out = capsys.readouterr().out
    for word in ("sds", "msd", "ddim", "Expected: MSD at least as near", "median rank of the front view"):
        assert word in out
    files = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir() if p.is_file()}
    assert {"scenes.md", "scenes.json", "scenes.png"} <= files.keys()
    monkeypatch.setattr(module, "finished", lambda config: pytest.fail("a scene that was measured is made again"))
    assert main(config) == 0
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir() if p.is_file()} == files


@pytest.mark.usefixtures("small")
def test_a_stopped_scene_goes_on(tmp_path: Path, prompts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from modeseek.scene.run import TextToScene

    scenes = Scenes.open(ReproduceConfig("scenes", out=tmp_path / "a", prompts=prompts))
    expected = scenes.views("msd", "hamburger", 0)
    again = Scenes.open(ReproduceConfig("scenes", out=tmp_path / "b", prompts=prompts))
    config = again.scene("msd", "hamburger", 0)
    assert not TextToScene.start(config).advance(stop_after=1)
    assert torch.equal(again.views("msd", "hamburger", 0), expected)
    assert resolve_scene(config).steps == 2


@pytest.mark.usefixtures("small")
def test_a_scene_of_other_settings_is_no_cell(tmp_path: Path, prompts: Path) -> None:
    from modeseek.scene.run import TextToScene

    scenes = Scenes.open(ReproduceConfig("scenes", out=tmp_path, prompts=prompts))
    TextToScene.start(replace(scenes.scene("msd", "hamburger", 0), lr=0.5))
    with pytest.raises(RunError, match="must be a run with the settings of this experiment"):
        scenes.views("msd", "hamburger", 0)


def test_both_methods_are_asked_about_the_same_prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Methods with the same pictures have the same similarity, though one has more prompts."""

    def views(self: Scenes, method: str, prompt: str, seed: int) -> torch.Tensor:
        return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(len(prompt)))

    asked = {"sds": NAMES[:2], "msd": NAMES[:4]}
    monkeypatch.setattr(module, "SHOWN", 2)
    monkeypatch.setattr(Scenes, "views", views)
    monkeypatch.setattr(Scenes, "samples", lambda self, prompts, first: torch.rand(2 * len(prompts), 3, 64, 64))
    monkeypatch.setattr(Scenes, "prompts", lambda self, method: asked[method])
    scenes = Scenes.open(ReproduceConfig("scenes", out=tmp_path))
    sds, msd = (scenes.line(method, asked["sds"]) for method in METHODS)
    assert (sds.scenes, msd.scenes) == (2, 4)
    assert msd.similarity == pytest.approx(sds.similarity, abs=1e-9)


def test_the_verdict() -> None:
    sds = Line("sds", 8, 800, 0.3, None, 30.0, 5.0, 6.0)
    better = Line("msd", 20, 800, 0.2, (0.05, 0.15), 31.0, 3.0, 3.0)
    assert "nearer: met, alike: met" in verdict([sds, better])
    assert "at most 20; 3 over 20 scenes" in verdict([sds, better])
    worse = replace(better, frechet=0.4, similarity=29.0, front=None)
    assert "nearer: missed, alike: missed" in verdict([sds, worse])
    assert "median rank" not in verdict([sds, worse])
