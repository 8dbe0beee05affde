"""What the tables of the plane share: rows before they are measured, and how a configuration is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modeseek.experiments.cells import Numbers
from modeseek.lab.config import DenoiserName, LabConfig
from modeseek.lab.measure import Truth
from modeseek.lab.points import moved
from modeseek.lab.problem import FRESH, Problem

DENOISERS: tuple[DenoiserName, ...] = ("ideal", "learned")
NARROW = 0.1  # an initial bandwidth that keeps the coverage, see coverage.py
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
    """

    name: str
    options: Mapping[str, Any]
    paper: str = ""
    seeds: int = 1
    differs: str = ""


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
