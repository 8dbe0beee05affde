"""The paper's Figure 3: the function that each method descends, its minima against the true modes; bias and variance.

Landscapes are those of the exact denoiser; phantom minima are those farther than the bandwidth from every mode of the
density smoothed with it. Bias and variance are those of one gradient with the ideal denoiser, relative to the true mean
shift, at 64 points, from 1000 draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modeseek.experiments.cells import Book, Numbers
from modeseek.experiments.config import ReproduceConfig
from modeseek.experiments.draws import gradients
from modeseek.experiments.planar import UNIFORM_5, opened
from modeseek.lab.config import LabConfig
from modeseek.lab.draw import landscape, landscape_panel, nodes
from modeseek.lab.methods import build_estimator
from modeseek.lab.points import dense_grid, moved
from modeseek.lab.problem import Problem
from modeseek.landscape import from_field
from modeseek.metrics import efficiency, nll
from modeseek.plots import Curves, Panel, curves, keep, panels, require
from modeseek.reports import table

DRAWS = 1000
BANDWIDTHS = (0.05, 0.1, 0.2236, 0.5)
LEAST = 1e-4  # where a curve's zero is drawn: a logarithmic axis has none


@dataclass(frozen=True)
class Row:
    """A landscape.

    Attributes:
        set: of points.
        title: of the panel.
        expected: from the theory.
        numbers: of the landscape.
    """

    set: str
    title: str
    expected: str
    numbers: Numbers


PHANTOM = "phantom minima"
PANELS: tuple[tuple[str, Mapping[str, Any], str], ...] = (  # expectations are those of the theory
    ("SDS, sigma to 5", UNIFORM_5 | {"field_draws": 250}, PHANTOM),
    ("SDS, sigma to 1", UNIFORM_5 | {"time_high": 0.2, "field_draws": 250}, PHANTOM),
    ("SDI", {"method": "sdi", "field_draws": 256}, PHANTOM + "; a field that is no gradient"),
    ("VSD at its end", {"method": "vsd", "field_draws": 250}, "pushes away from its own particles"),
    ("MSD, exponential", {"sampler": "exponential", "field_draws": 4}, "biased, near the modes"),
    ("MSD, posterior mean", {}, "the modes, all of them and no other"),
)
ESTIMATORS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("MSD, posterior_mean", {}),
    ("MSD, exact", {"sampler": "exact"}),
    ("MSD, exponential", {"sampler": "exponential"}),
    ("MSD, proximal", {"sampler": "proximal"}),
    ("SDS at one level", {"method": "sds"}),
)


def field(config: LabConfig) -> Tensor:
    """The gradient field of a method and below it its minima, (n^2 + M, 2)."""
    problem = Problem.of(config)
    particles = moved(config, problem) if config.method == "vsd" else None
    found = landscape(config, problem, particles)
    return torch.cat([found.field.reshape(-1, 2), found.minima])


def surveyed(book: Book, config: LabConfig, title: str) -> tuple[Panel, Numbers]:
    """One landscape and its numbers; ``nll_at_minima`` is the mean over its minima, NaN if it has none."""
    problem, at = Problem.of(config), nodes(config)
    kept = book.tensor(f"figure3, {config.set}, {title}", config, lambda: field(config))
    found = from_field(kept[: len(at) ** 2].reshape(len(at), len(at), 2), at, at, kept[len(at) ** 2 :])
    panel, numbers = landscape_panel(config, problem, found)
    mean = nll(found.minima, problem.density.log_prob) if len(found.minima) else float("nan")
    counts = f"{numbers['minima']:.0f} minima, {numbers['phantom_minima']:.0f} phantom"
    shown = Panel(f"{title}\n{counts}", heights=panel.heights, marks=panel.marks)
    return shown, numbers | {"nll_at_minima": mean}


def spread(config: LabConfig) -> Numbers:
    """Relative bias and standard deviation of one gradient at the points of the configuration."""
    problem, x = Problem.of(config), dense_grid(config)
    estimator = build_estimator(config, problem)
    truth = x - problem.density.posterior_mean(x, config.bandwidth_start)
    found = efficiency(gradients(config, estimator, x, problem.cond, DRAWS), truth, estimator.nfe(1))
    return {"bias": found.relative_bias, "std": found.relative_std, "cosine": found.cosine}


def biases(book: Book, name: str) -> list[Curves]:
    """Bias and spread against the bandwidth, a line an estimator."""
    lines: dict[str, dict[str, list[tuple[float, float]]]] = {"bias": {}, "std": {}}
    for title, options in ESTIMATORS:
        for h in BANDWIDTHS:
            level = h / LabConfig(name).sigma_max
            more = {"time_low": level, "time_high": level} if options.get("method") == "sds" else {}
            fixed = {"points": 8, "steps": 3, "bandwidth_start": h, "bandwidth_end": h}
            config = LabConfig(name, **(fixed | dict(options) | more))
            found = book.cell(f"figure3, {name}, {title}, bandwidth {h}", config, partial(spread, config))
            for number, line in lines.items():
                line.setdefault(title, []).append((h, max(found[number], LEAST)))
    words = {"bias": "bias / |shift|", "std": "spread of one draw / |shift|"}
    return [Curves(name, "bandwidth", words[k], line, log_x=True, log_y=True) for k, line in lines.items()]


def main(config: ReproduceConfig) -> None:
    """Draw figure3-SET and figure3-bias; write figure3.md and figure3.json."""
    require()
    sets, book, rows, plots = opened(config), Book(config.folder()), [], []
    for name in sets:
        drawn = []
        for title, options, expected in PANELS:
            # what a method adds, and not what finite data do: those have modes of their own, see docs/reproduce.md
            one = LabConfig(name, denoiser="exact", **options)
            panel, numbers = surveyed(book, one, title)
            drawn.append(panel)
            rows.append(Row(name, title, expected, numbers))
        print(keep(config.folder() / f"figure3-{Path(name).stem}", panels(drawn, box=LabConfig(name).box, columns=3)))
        plots += biases(book, name)
    print(keep(config.folder() / "figure3-bias", curves(plots, columns=2)))
    names = ("minima", "phantom_minima", "modes_without_minimum", "nll_at_minima", "rotation")
    head = ["set", "method", *(n.replace("_", " ") for n in names), "expected"]
    lines = [[r.set, r.title, *(f"{r.numbers[n]:.3g}" for n in names), r.expected] for r in rows]
    print(book.report("figure3", table(head, lines), rows).read_text())
