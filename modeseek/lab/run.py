"""A run in the plane on disk: points that move, numbers, pictures; resumed bit for bit."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modeseek.config import from_yaml, to_yaml
from modeseek.generators import Points
from modeseek.jobs import Job
from modeseek.lab.config import LabConfig
from modeseek.lab.draw import check_landscape, landscape, landscape_panel, shade
from modeseek.lab.measure import Truth
from modeseek.lab.methods import build_estimator
from modeseek.lab.points import dense_grid, sampled, streams
from modeseek.lab.problem import FRESH, Problem
from modeseek.pictures import animation
from modeseek.planar import PICTURES, SETS
from modeseek.plots import Panel, keep, panels, require
from modeseek.runs import Run, free_path, refuse_existing, write_atomic


@dataclass
class Lab:
    """A run in progress.

    Attributes:
        config: of the run.
        problem: density and denoisers.
        truth: what the end is held against.
        run: the directory.
        points: (n^2, 2), as they stand.
        job: the loop; None for ddim, which has none.
    """

    config: LabConfig
    problem: Problem
    truth: Truth
    run: Run
    points: Points
    job: Job | None = None

    @classmethod
    def start(cls, config: LabConfig) -> Lab:
        """A new run: everything is built and checked before the directory is made.

        Raises:
            UsageError, UnstableError, RunError: see ``Problem.of``, ``build_estimator``, ``Run.create``.
        """
        require()
        if config.out is not None:
            refuse_existing(config.out, config.overwrite)
        problem = cls._open(config)
        out = config.out or free_path(Path("modeseek-runs"), f"{problem.planar.name}-{config.method}")
        config = replace(config, out=out)
        parts = cls._parts(config, problem)
        run = Run.create(out, to_yaml(_absolute(config)), overwrite=config.overwrite)
        return cls._assemble(config, problem, run, *parts)

    @classmethod
    def resume(cls, path: Path) -> Lab:
        """A run as its last checkpoint left it; from the start if it has none.

        Raises:
            RunError: if the folder is no run or its checkpoint does not fit.
        """
        require()
        run = Run.open(path)
        config = from_yaml(run.config(), str(path / "config.yaml"), LabConfig)
        problem = cls._open(config)
        self = cls._assemble(config, problem, run, *cls._parts(config, problem))
        found = run.load()
        if found is not None and self.job is not None:
            self.job.restore(*found)
        run.cut_back(self.job.progress.step if self.job else 0)
        return self

    @staticmethod
    def _open(config: LabConfig) -> Problem:
        if config.threads:
            torch.set_num_threads(config.threads)
        return Problem.of(config)

    @staticmethod
    def _parts(config: LabConfig, problem: Problem) -> tuple[Points, Any]:
        estimator = None if config.method == "ddim" else build_estimator(config, problem)
        if estimator is not None and config.landscape:
            check_landscape(config, problem)
        return Points(dense_grid(config)), estimator

    @classmethod
    def _assemble(cls, config: LabConfig, problem: Problem, run: Run, points: Points, estimator: Any) -> Lab:
        self = cls(config, problem, Truth.of(config, problem), run, points)
        if estimator is not None:
            self.job = Job(
                run=run,
                generator=points,
                rendered=points,
                estimator=estimator,
                optimiser=torch.optim.Adam(points.parameters(), lr=config.lr),
                cond=problem.cond,
                rng=streams(config),
                steps=config.steps,
                refresh_every=1,
                keep_picture=self._keep_picture,
                picture_every=config.picture_every,
                checkpoint_every=config.checkpoint_every,
                marks=_marks(config),
            )
        return self

    def nfe(self) -> int:
        """Evaluations per point that the whole run takes."""
        levels = self.config.sample_steps
        return self.job.nfe() if self.job else levels * self.problem.denoiser.cost(self.config.sigma_max)

    def advance(self, *, bar: Any = None, stop_after: int | None = None) -> bool:
        """Run to the end, or until Ctrl-C, or for ``stop_after`` steps; tell whether the end was reached."""
        if self.job is None:
            self.points = Points(sampled(self.config, self.problem))
        elif not self.job.advance(bar=bar, stop_after=stop_after):
            return False
        self._finish()
        return True

    def table(self) -> str:
        """The results as lines for people, a perfect sampler's beside them."""
        fresh = self.truth.measure(self.problem.sample(len(self.points.x), self.config.seed, step=FRESH))
        numbers = json.loads((self.run.path / "results.json").read_text())
        rows = [f"{'':24}{self.config.method:>10}{'true samples':>16}"]
        for name, value in numbers.items():
            beside = f"{fresh[name]:16.3f}" if name in fresh else ""
            rows.append(f"{name.replace('_', ' '):24}{value:10.3f}{beside}")
        return "\n".join(rows)

    def results(self) -> dict[str, float]:
        """Numbers of the points as they stand, see ``Truth.measure``."""
        return self.truth.measure(self.points.x.detach())

    def _panel(self, title: str, points: Tensor) -> Panel:
        dots = {self.config.method.upper(): points}
        return Panel(title, self._shade, dots=dots, marks={"true modes": self.truth.modes})

    @cached_property
    def _shade(self) -> Tensor:
        return shade(self.problem.density, self.config.box)

    def _keep_picture(self, step: int) -> None:
        panel = self._panel(f"{self.problem.planar.name}, step {step}", self.points.x.detach())
        self.run.picture(step, panels([panel], box=self.config.box, suffixes=[".png"])[".png"])

    def _finish(self) -> None:
        config, path, points = self.config, self.run.path, self.points.x.detach()
        numbers = {"nfe": float(self.nfe()), **self.results()}
        figure = [self._panel(f"{self.problem.planar.name}, {config.method}", points)]
        if config.landscape and self.job is not None:
            learned = config.method == "vsd" and config.auxiliary == "trained"
            surveyed = landscape(config, self.problem, points, self.job.estimator if learned else None)
            panel, counted = landscape_panel(config, self.problem, surveyed)
            figure.append(panel)
            numbers |= counted
        keep(path / "final", panels(figure, box=config.box))
        write_atomic(path / "results.json", json.dumps(numbers, indent=1))
        if self.run.pictures():
            data, suffix = animation(self.run.pictures(), milliseconds=150)
            write_atomic(path / f"evolution{suffix}", data)


def _absolute(config: LabConfig) -> LabConfig:
    """The configuration with a picture's path that holds from any folder."""
    picture = _picture(config)
    return config if picture is None else replace(config, set=str(picture))


def _picture(config: LabConfig) -> Path | None:
    """The file that the set is; None for a name, which stands before a file of that name."""
    path = Path(config.set)
    return None if config.set in SETS or config.set in PICTURES or not path.is_file() else path.resolve()


def _marks(config: LabConfig) -> dict[str, str]:
    """By what a checkpoint knows its run again: a file may have changed since."""
    picture = _picture(config)
    return {} if picture is None else {"picture": hashlib.sha256(picture.read_bytes()).hexdigest()}
