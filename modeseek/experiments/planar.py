"""What the tables of the plane share: rows before they are measured, and how a configuration is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, TypeVar

from modeseek.densities import open_set
from modeseek.errors import NonFiniteError, UnstableError
from modeseek.experiments.cells import Book, Numbers, Spread, over_seeds
from modeseek.experiments.config import ReproduceConfig
from modeseek.lab.config import DenoiserName, LabConfig
from modeseek.lab.measure import Truth
from modeseek.lab.points import moved
from modeseek.lab.problem import FRESH, Problem

DENOISERS: tuple[DenoiserName, ...] = ("ideal", "learned")
NARROW = {"fractal": 0.1, "spiral": 0.1, "pinwheel": 0.05}  # initial bandwidths that keep the coverage, see coverage.py
UNIFORM_5: dict[str, Any] = {"method": "sds", "time_low": 0.0, "time_high": 1.0}


@dataclass(frozen=True)
class Method:
    """A row of the table, before set and denoiser are chosen.

    Attributes:
        name: in words.
        options: of ``LabConfig``, where they differ from its defaults.
        paper: the paper's name of what this row stands for; empty for rows that the paper has not.
        seeds: how many.
        differs: from the paper, or from the row above.
        narrow: start from the set's narrow bandwidth.
    """

    name: str
    options: Mapping[str, Any]
    paper: str = ""
    seeds: int = 1
    differs: str = ""
    narrow: bool = False


def narrow(name: str) -> float:
    """The narrow initial bandwidth of a set."""
    return NARROW.get(name, 0.05)


Paper = TypeVar("Paper", float | None, tuple[float, float, float] | None)


@dataclass(frozen=True)
class Row(Generic[Paper]):
    """A row of a table.

    Attributes:
        set: of points.
        denoiser: ideal or learned.
        method: in words.
        differs: from the paper.
        paper: its numbers; None where the paper has no such row.
        ours: each number over the seeds; None where the method cannot run.
        note: why it cannot.
    """

    set: str
    denoiser: str
    method: str
    differs: str
    paper: Paper
    ours: Mapping[str, Spread] | None = None
    note: str = ""


def filled(
    book: Book, name: str, blank: Row[Paper], configs: Sequence[LabConfig], measure: Callable[[LabConfig], Numbers]
) -> Row[Paper]:
    """The row of a table with its numbers, a configuration a seed, measured or read."""
    cells = []
    for config in configs:
        what = f"{name}, {blank.set}, {blank.denoiser}, {blank.method}, seed {config.seed}"
        try:
            cells.append(book.cell(what, config, partial(measure, config)))
        except (NonFiniteError, UnstableError) as error:
            return replace(blank, note=str(error))
    return replace(blank, ours=over_seeds(cells))


def opened(config: ReproduceConfig) -> tuple[str, ...]:
    """The sets, each opened once: a wrong name stops a reproduction before its first cell, not after an hour.

    Raises:
        UsageError: for an unknown set or a picture that is none.
    """
    for name in config.chosen():
        open_set(name)
    return config.chosen()


def measure(config: LabConfig) -> Numbers:
    """Run one cell."""
    problem = Problem.of(config)
    return Truth.of(config, problem).measure(moved(config, problem))


def truth(config: LabConfig) -> Numbers:
    """What as many fresh samples of the density itself score, and its entropy."""
    problem = Problem.of(config)
    held = Truth.of(config, problem)
    entropy = -float(problem.density.log_prob(held.samples).mean())
    return held.measure(problem.sample(config.points**2, config.seed, FRESH)) | {"entropy": entropy}
