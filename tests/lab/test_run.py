"""A whole run in the plane: what it leaves on the disk, and that a killed one ends as if it had never stopped."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from killing import assert_same_run, untimed
from PIL import Image
from safetensors.torch import load_file
from small_lab import SMALL, flags, make_small, small, words

from modeseek import cli
from modeseek.config import from_yaml
from modeseek.errors import RunError, UsageError
from modeseek.lab import run as lab_run
from modeseek.lab.config import LabConfig
from modeseek.lab.points import dense_grid, moved
from modeseek.lab.problem import Problem
from modeseek.lab.run import Lab

NUMBERS = {"nfe", "nll", "precision", "recall", "mmd", "at_modes", "modes_found", "distance", "modes", "points"}
LANDSCAPE = {"minima", "phantom_minima", "modes_without_minimum", "rotation"}
FILES = {"config.yaml", "metrics.jsonl", "pictures", "evolution.webp", "final.png", "final.pdf", "results.json"}

# every kind of state that a run may have: none but the points, noise of the step, the others' places, a network
STATES: dict[str, dict[str, Any]] = {
    "msd": {"sampler": "exact"},
    "sds": {"method": "sds"},
    "vsd": {"method": "vsd"},
    "vsd trained": {"method": "vsd", "auxiliary": "trained"},
}

Start = Callable[..., Lab]


@pytest.fixture(autouse=True)
def networks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    make_small(monkeypatch, tmp_path / "cache")


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Start a small run in a new folder of the name, with the exact denoiser."""

    def build(name: str = "run", planar: str = "eight_gaussians", **options: Any) -> Lab:
        return Lab.start(small(planar, **{"out": tmp_path / name, "denoiser": "exact", **options}))

    return build


def whole(lab: Lab) -> Path:
    assert lab.advance()
    return lab.run.path


def loop(lab: Lab) -> Lab:
    """The loop alone, without pictures."""
    assert lab.job is not None
    lab.job.keep_picture = lambda step: None
    assert lab.job.advance()
    return lab


# -- what a run leaves -------------------------------------------------------------------------------------------------


def test_the_files_of_a_run(start: Start, tmp_path: Path) -> None:
    path = whole(start(picture_every=4, checkpoint_every=4))
    assert {p.name for p in path.iterdir()} == FILES | {"checkpoint.json", "checkpoint-000006.safetensors"}
    assert [p.name for p in sorted((path / "pictures").iterdir())] == [f"step-{k:06d}.png" for k in (0, 4, 6)]
    assert Image.open(path / "evolution.webp").n_frames == 3
    config = from_yaml((path / "config.yaml").read_text(), "config.yaml", LabConfig)
    assert config == small(out=path, denoiser="exact", picture_every=4, checkpoint_every=4)
    rows = untimed(path)
    assert [row["step"] for row in rows] == [row["nfe"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[0]["bandwidth"] == pytest.approx(0.2234, abs=1e-4)
    assert rows[-1]["bandwidth"] == pytest.approx(0.02)
    results = json.loads((path / "results.json").read_text())
    assert results.keys() == NUMBERS
    assert (results["nfe"], results["modes"], results["points"]) == (6, 8, 16)


def test_the_points_are_those_of_the_library(start: Start) -> None:
    """The run directory adds nothing: the same bits as ``moved``, and in the checkpoint."""
    for k, options in enumerate(STATES.values()):
        lab = loop(start(f"run-{k}", **options))
        config = small(denoiser="exact", **options)
        expected = moved(config, Problem.of(config))
        assert torch.equal(lab.points.x.detach(), expected)
        kept = load_file(lab.run.path / "checkpoint-000006.safetensors")
        assert any(v.shape == expected.shape and torch.equal(v, expected) for v in kept.values())


def test_results_are_of_the_points_as_they_stand(start: Start) -> None:
    lab = start()
    before = lab.results()
    assert before == lab.truth.measure(dense_grid(lab.config))
    whole(lab)
    kept = json.loads((lab.run.path / "results.json").read_text())
    assert {k: kept[k] for k in before} == lab.results() != before


def test_a_landscape_is_drawn_and_counted(start: Start) -> None:
    """A second panel; where every point of VSD is a particle, of the points at the end."""
    without = whole(start("without"))
    path = whole(start("with", landscape=True))
    assert json.loads((path / "results.json").read_text()).keys() == NUMBERS | LANDSCAPE
    sizes = [Image.open(p / "final.png").size for p in (without, path)]
    assert sizes[1][0] > 1.8 * sizes[0][0]
    assert (without / "pictures/step-000006.png").read_bytes() == (path / "pictures/step-000006.png").read_bytes()


def test_samples_leave_no_loop_behind(start: Start) -> None:
    lab = start(method="ddim", landscape=True)
    path = whole(lab)
    assert {p.name for p in path.iterdir()} == FILES - {"metrics.jsonl", "evolution.webp"}
    assert json.loads((path / "results.json").read_text())["nfe"] == lab.nfe() == 32
    assert torch.equal(lab.points.x.detach(), moved(lab.config, lab.problem))
    assert_bytes = (path / "final.png").read_bytes()
    assert (whole(Lab.resume(path)) / "final.png").read_bytes() == assert_bytes


def test_the_plan_is_what_is_spent(start: Start) -> None:
    several: list[dict[str, Any]] = [*STATES.values(), {"method": "sdi"}, {"n_samples": 2, "sampler": "proximal"}]
    several.append({"guidance": "autoguidance", "method": "sds"})
    for k, options in enumerate(several):
        lab = loop(start(f"run-{k}", **options))
        assert lab.job is not None
        assert lab.nfe() == lab.job.progress.nfe == untimed(lab.run.path)[-1]["nfe"] > 0


def test_the_table_stands_beside_true_samples(start: Start) -> None:
    lab = start()
    whole(lab)
    head, *rows = lab.table().splitlines()
    assert head.split() == ["msd", "true", "samples"]
    table = {line[:24].strip(): line[24:].split() for line in rows}
    assert table["points"] == ["16.000", "16.000"]
    assert table["modes found"][0] == f"{lab.results()['modes_found']:.3f}"
    assert len(table["nfe"]) == 1
    assert float(table["nll"][1]) < float(table["nll"][0])  # a few steps are no samples yet


def test_the_same_seed_and_another(start: Start) -> None:
    first = whole(start("a", denoiser="ideal"))
    assert_same_run(first, whole(start("b", denoiser="ideal")))
    other = whole(start("c", denoiser="ideal", seed=1))
    assert (first / "final.png").read_bytes() != (other / "final.png").read_bytes()


def test_a_run_without_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [Lab.start(small(denoiser="exact", method=m)).run.path for m in ("sds", "sds", "ddim")]
    names = ["eight_gaussians-sds", "eight_gaussians-sds-2", "eight_gaussians-ddim"]
    assert paths == [Path("modeseek-runs") / name for name in names]
    assert from_yaml((paths[1] / "config.yaml").read_text(), "", LabConfig).out == paths[1]


# -- stopped and continued ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", STATES)
def test_resumed_is_uninterrupted_byte_for_byte(start: Start, state: str) -> None:
    options = {**STATES[state], "picture_every": 5, "checkpoint_every": 2, "landscape": state == "vsd trained"}
    expected = whole(start("whole", **options))
    lab = start("stopped", **options)
    assert not lab.advance(stop_after=1)
    assert not (lab.run.path / "final.png").exists()
    again = Lab.resume(lab.run.path)
    assert again.job is not None
    assert again.job.progress.step == 1
    assert not again.advance(stop_after=2)
    assert_same_run(expected, whole(Lab.resume(lab.run.path)))


def test_a_finished_run_is_finished_again(start: Start) -> None:
    expected = whole(start("whole"))
    path = whole(start("again"))
    (path / "final.png").unlink()
    assert_same_run(expected, whole(Lab.resume(path)))


def test_a_run_without_a_checkpoint_begins_again(start: Start) -> None:
    assert_same_run(whole(start("whole")), whole(Lab.resume(start("made").run.path)))


def test_a_run_that_was_moved_goes_on(start: Start, tmp_path: Path) -> None:
    expected = whole(start("whole"))
    lab = start("here")
    lab.advance(stop_after=3)
    there = Path(shutil.move(lab.run.path, tmp_path / "there"))
    assert_same_run(expected, whole(Lab.resume(there)))


MANY: dict[str, Any] = {"steps": 120, "checkpoint_every": 5, "picture_every": 1000, "sample_steps": 8}

# imports once, then starts the command line in one child after the other and kills each when the log has so many lines
KILLER = """
import json, os, signal, sys, time
from pathlib import Path
import matplotlib.figure, matplotlib.backends.backend_agg, pydantic, safetensors.torch, tqdm
import modeseek.lab.run
from modeseek.cli import main
from modeseek.plots import Panel, panels

panels([Panel("loads the fonts")], box=1.0)

for run, moments, first in json.loads(sys.argv[1]):
    for k, (lines, writing) in enumerate(moments):
        child, path = os.fork(), Path(run)
        if child == 0:
            main(first if k == 0 else ["resume", run])
        while True:
            ended, status = os.waitpid(child, os.WNOHANG)
            assert not ended, (run, k, status)
            log = path / "metrics.jsonl"
            done = log.read_bytes().count(b"\\n") if log.exists() else 0
            if done >= lines + 15 or (done >= lines and (not writing or any(path.glob(".*.part")))):
                break
            time.sleep(0.0005)
        os.kill(child, signal.SIGKILL)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_kill_9_and_resume(start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before the first checkpoint, between two, while one is written."""
    moments = {"msd": [(1, False), (12, True)]}
    command = ["lab", "eight_gaussians", *flags(**MANY, denoiser="exact")]
    plan = [
        (str(tmp_path / name), moments.get(name, [(22, True)]), [*command, *words(**options, out=tmp_path / name)])
        for name, options in STATES.items()
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    killer = subprocess.run(
        [sys.executable, "-c", KILLER, json.dumps(plan)], env=environment, capture_output=True, text=True, timeout=200
    )
    assert killer.returncode == 0, killer.stderr
    for name, options in STATES.items():
        path = tmp_path / name
        assert not (path / "final.png").exists()
        assert 10 <= json.loads((path / "checkpoint.json").read_text())["step"] < 120
        expected = whole(start(f"whole {name}", **MANY, **options))
        with pytest.raises(SystemExit) as ended:
            cli.main(["resume", str(path)])
        assert ended.value.code == 0
        assert_same_run(expected, path)


def test_ctrl_c_saves(start: Start) -> None:
    expected = whole(start("whole"))
    lab = start("stopped")
    job: Any = lab.job
    real = job.keep_picture
    job.picture_every = 2
    job.keep_picture = lambda step: signal.raise_signal(signal.SIGINT) if step == 2 else real(step)
    assert not lab.advance()
    assert json.loads((lab.run.path / "checkpoint.json").read_text())["step"] == 2
    assert_same_run(expected, whole(Lab.resume(lab.run.path)))


# -- what cannot go on -------------------------------------------------------------------------------------------------


@pytest.fixture
def stopped(start: Start) -> Path:
    lab = start("stopped", method="vsd", auxiliary="trained")
    lab.advance(stop_after=3)
    return lab.run.path


def test_a_damaged_checkpoint(stopped: Path) -> None:
    path = stopped / "checkpoint-000003.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(RunError, match=r"checkpoint-000003\.safetensors must match the SHA-256 in checkpoint\.json"):
        Lab.resume(stopped)
    path.unlink()
    with pytest.raises(RunError, match="must be a checkpoint that modeseek wrote; it cannot be read"):
        Lab.resume(stopped)
    (stopped / "checkpoint.json").write_text('{"format": 1')
    with pytest.raises(RunError, match="must be a checkpoint that modeseek wrote; it cannot be read"):
        Lab.resume(stopped)


@pytest.mark.parametrize(
    ("old", "new"), [("points: 4", "points: 5"), ("auxiliary: trained", "auxiliary: particles"), (": vsd", ": sds")]
)
def test_a_checkpoint_of_another_configuration(stopped: Path, old: str, new: str) -> None:
    config = stopped / "config.yaml"
    assert old in config.read_text()
    config.write_text(config.read_text().replace(old, new))
    if new == ": sds":  # has no state of its own: what is left over is no reason to refuse
        assert Lab.resume(stopped).advance(stop_after=1) is False
        return
    with pytest.raises(RunError, match=r"the checkpoint in .* must fit its config\.yaml; it does not"):
        Lab.resume(stopped)


def disc(path: Path, side: int) -> Path:
    grey = torch.full((20, 20), 255, dtype=torch.uint8)
    grey[2 : 2 + side, 3 : 3 + side] = 0
    Image.fromarray(grey.numpy()).save(path)
    return path


def test_a_picture_is_found_again_from_another_folder(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disc(tmp_path / "disc.png", 5)
    monkeypatch.chdir(tmp_path)
    lab = start("run", "disc.png")
    lab.advance(stop_after=2)
    monkeypatch.chdir("/")
    again = Lab.resume(lab.run.path)
    assert again.problem.density.fingerprint == lab.problem.density.fingerprint
    whole(again)


def test_a_picture_that_has_changed(start: Start, tmp_path: Path) -> None:
    picture = disc(tmp_path / "disc.png", 5)
    lab = start("run", str(picture))
    lab.advance(stop_after=2)
    disc(picture, 6)
    with pytest.raises(RunError, match="the picture is another one than the run began with"):
        Lab.resume(lab.run.path)
    picture.unlink()
    with pytest.raises(UsageError, match="the set, if not a picture file, must be one of"):
        Lab.resume(lab.run.path)


def test_a_set_is_meant_before_a_file_of_its_name(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("moons").write_text("no picture")
    path = start("run", "moons").run.path
    assert from_yaml((path / "config.yaml").read_text(), "", LabConfig).set == "moons"
    assert Lab.resume(path).problem.planar.name == "moons"


def test_threads(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", told.append)
    start("a")
    start("b", threads=1)
    assert told == [1]


# -- refused before anything is made -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"guidance": "cfg"}, "guidance cfg needs a class"),
        ({"label": 3}, "the class of eight_gaussians must be None"),
        ({"bandwidth_start": 6.0}, "bandwidth_start for posterior_mean must be at most"),
        ({"landscape": True, "landscape_bandwidth": 6.0}, "landscape_bandwidth must be one that the method takes"),
    ],
)
def test_no_folder_is_left_behind(start: Start, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        start(**options)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_exists(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = whole(start())
    final = (path / "final.png").read_bytes()
    with monkeypatch.context() as watched:
        watched.setattr(lab_run.Problem, "of", lambda config: pytest.fail("refused too late"))
        with pytest.raises(RunError, match="must not exist yet"):
            start(seed=2)
    with pytest.raises(UsageError):  # a mistake must not cost the older run
        start(overwrite=True, label=7)
    assert (path / "final.png").read_bytes() == final
    again = start(overwrite=True, method="sds")
    assert not (path / "final.png").exists()
    assert (whole(again) / "final.png").read_bytes() != final


def test_without_matplotlib_nothing_begins(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = start().run.path
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(lab_run.Problem, "of", lambda config: pytest.fail("refused too late"))
    for begin in (lambda: start("other"), lambda: Lab.resume(path)):
        with pytest.raises(UsageError, match="matplotlib must be installed to draw figures: pip install"):
            begin()
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_the_options_of_a_small_run_are_options() -> None:
    assert small() == LabConfig("eight_gaussians", **SMALL)
