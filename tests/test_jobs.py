"""A loop in a run directory, with an estimator whose every number is known."""

from __future__ import annotations

import dataclasses
import json
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from modeseek.errors import NonFiniteError, RunError
from modeseek.estimators.base import Estimate
from modeseek.generators import Points
from modeseek.jobs import Job
from modeseek.randomness import Streams
from modeseek.runs import Run


@dataclasses.dataclass
class Halving:
    """Its target is half of x; a step costs its number, from 1; it may break at one."""

    breaks_at: int = 10**9
    interrupts_at: int = 10**9
    calls: list[int] = dataclasses.field(default_factory=list)

    def nfe(self, step: int) -> int:
        return step + 1

    def __call__(self, x: Tensor, cond: Any = None, *, rng: Any, step: int = 0) -> Estimate:
        self.calls.append(step)
        if step == self.breaks_at:
            raise NonFiniteError(f"broken at {step}")
        if step == self.interrupts_at:
            signal.raise_signal(signal.SIGINT)
        return Estimate(x, x.detach() / 2, step + 1, {"bandwidth": 0.5})


class Bar:
    """What of a progress bar the loop uses."""

    def __init__(self) -> None:
        self.done, self.texts = 0, []

    def update(self, n: int) -> None:
        self.done += n

    def set_postfix(self, text: dict[str, str], refresh: bool) -> None:
        self.texts.append(text)


def job(path: Path, estimator: Halving | None = None, **options: Any) -> Job:
    """Six steps in a new run directory, or in the one that is there; the steps of its pictures in ``shown``."""
    run = Run.open(path) if path.exists() else Run.create(path, "steps: 6\n")
    points = Points(torch.ones(2, 2, dtype=torch.float64))
    shown: list[int] = []
    given: dict[str, Any] = {"steps": 6, "refresh_every": 1, "picture_every": 4, "checkpoint_every": 4, **options}
    made = Job(
        run=run,
        generator=points,
        rendered=points,
        estimator=estimator or Halving(),
        optimiser=torch.optim.SGD(points.parameters(), lr=1.0),
        cond=None,
        rng=Streams.for_batch(0, 2),
        keep_picture=shown.append,
        **given,
    )
    made.__dict__["shown"] = shown
    return made


def at(job: Job) -> float:
    """The one number that all coordinates are."""
    x = job.generator.x.detach()  # type: ignore[union-attr, operator]
    assert bool((x == x[0, 0]).all())
    return float(x[0, 0])


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def kept(path: Path) -> int:
    return int(json.loads((path / "checkpoint.json").read_text())["step"])


def resumed(path: Path, **options: Any) -> Job:
    made = job(path, **options)
    found = made.run.load()
    assert found is not None
    made.restore(*found)
    return made


# -- the loop ----------------------------------------------------------------------------------------------------------


def test_a_whole_run(tmp_path: Path) -> None:
    made, bar = job(tmp_path / "run"), Bar()
    assert made.advance(bar=bar)
    assert at(made) == 2.0**-6
    assert made.__dict__["shown"] == [0, 4, 6]  # at the start, every fourth, at the end
    assert kept(tmp_path / "run") == 6
    log = rows(tmp_path / "run")
    assert [row["step"] for row in log] == [1, 2, 3, 4, 5, 6]
    assert [row["nfe"] for row in log] == [1, 3, 6, 10, 15, 21]
    assert all(row["bandwidth"] == 0.5 and row["seconds"] >= 0 for row in log)
    assert log[0]["grad_norm"] == pytest.approx(1.0)  # four coordinates of one half
    assert (bar.done, len(bar.texts), bar.texts[0]["bandwidth"]) == (6, 6, "0.5")


def test_the_plan(tmp_path: Path) -> None:
    """Only the steps that draw a target cost: 1 + 2 + ... + 6, or the first and the fourth."""
    assert job(tmp_path / "a").nfe() == 21
    shared = job(tmp_path / "b", refresh_every=3)
    assert shared.nfe() == 1 + 4
    assert shared.advance()
    assert shared.progress.nfe == 5
    assert [row["nfe"] for row in rows(tmp_path / "b")] == [1, 1, 1, 5, 5, 5]


def test_checkpoints_come_every_so_often(tmp_path: Path) -> None:
    seen = []
    made = job(tmp_path / "run", checkpoint_every=2)
    made.save = lambda: seen.append(made.progress.step)  # type: ignore[method-assign]
    made.advance()
    assert seen == [2, 4, 6, 6]


@pytest.mark.parametrize("stop", [1, 3, 4, 5])
def test_stopped_and_restored(tmp_path: Path, stop: int) -> None:
    path = tmp_path / "run"
    made = job(path)
    assert not made.advance(stop_after=stop)
    assert (made.progress.step, kept(path), at(made)) == (stop, stop, 2.0**-stop)
    again = resumed(path)
    assert (again.progress.step, again.progress.nfe, at(again)) == (stop, stop * (stop + 1) // 2, 2.0**-stop)
    assert again.advance()
    assert at(again) == 2.0**-6
    assert made.__dict__["shown"] + again.__dict__["shown"] == [0, 4, 6]
    assert [row["nfe"] for row in rows(path)] == [1, 3, 6, 10, 15, 21]


def test_stop_after_counts_from_where_it_began(tmp_path: Path) -> None:
    made = job(tmp_path / "run")
    assert [made.advance(stop_after=2) for _ in range(3)] == [False, False, True]


def test_a_finished_run_has_nothing_to_do(tmp_path: Path) -> None:
    job(tmp_path / "run").advance()
    estimator = Halving()
    again = resumed(tmp_path / "run", estimator=estimator)
    assert again.advance()
    assert (estimator.calls, again.__dict__["shown"]) == ([], [])


# -- marks -------------------------------------------------------------------------------------------------------------


def test_a_run_knows_its_checkpoint_by_its_marks(tmp_path: Path) -> None:
    path = tmp_path / "run"
    job(path, marks={"weights": "abc"}).advance(stop_after=2)
    assert resumed(path, marks={"weights": "abc"}).progress.step == 2
    with pytest.raises(RunError, match="the weights is another one than the run began with"):
        resumed(path, marks={"weights": "abd"})
    with pytest.raises(RunError, match="the picture is another one"):
        resumed(path, marks={"weights": "abc", "picture": "x"})


# -- broken and interrupted --------------------------------------------------------------------------------------------


def test_a_gradient_that_is_not_finite(tmp_path: Path) -> None:
    """The state before it is kept, and said where."""
    path = tmp_path / "run"
    with pytest.raises(NonFiniteError, match=f"broken at 3; the state before it is in {path}"):
        job(path, estimator=Halving(breaks_at=3)).advance()
    assert kept(path) == 3
    again = resumed(path)
    assert again.advance()
    assert at(again) == 2.0**-6


def test_at_the_first_step_there_is_no_state_before_it(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError, match="broken at 0"):
        job(tmp_path / "run", estimator=Halving(breaks_at=0)).advance()
    assert not (tmp_path / "run/checkpoint.json").exists()


def test_ctrl_c_finishes_the_step_and_saves(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    made = job(tmp_path / "run", estimator=Halving(interrupts_at=2))
    assert not made.advance()
    assert (made.progress.step, kept(tmp_path / "run")) == (3, 3)
    assert signal.getsignal(signal.SIGINT) is before
    assert resumed(tmp_path / "run").advance()


def test_the_last_step_interrupted_is_the_end(tmp_path: Path) -> None:
    assert job(tmp_path / "run", estimator=Halving(interrupts_at=5)).advance()


def test_outside_the_main_thread_ctrl_c_is_somebody_elses(tmp_path: Path) -> None:
    before, ended = signal.getsignal(signal.SIGINT), []
    made = job(tmp_path / "run")
    thread = threading.Thread(target=lambda: ended.append(made.advance()))
    thread.start()
    thread.join()
    assert ended == [True]
    assert signal.getsignal(signal.SIGINT) is before
