"""The paper's Figure 1: one class of the fractal, sampled by DDIM and sought by SDS and by MSD, without guidance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from modeseek.experiments.cells import Book, Numbers
from modeseek.experiments.config import ReproduceConfig
from modeseek.experiments.planar import DENOISERS, UNIFORM_5, narrow, opened
from modeseek.lab.config import DenoiserName, LabConfig
from modeseek.lab.draw import shade
from modeseek.lab.measure import Truth
from modeseek.lab.points import moved
from modeseek.lab.problem import FRESH, Problem
from modeseek.plots import Panel, keep, panels, require
from modeseek.reports import table

SEED = 0


@dataclass(frozen=True)
class Row:
    """A panel of the figure.

    Attributes:
        set: of points.
        denoiser: ideal or learned.
        title: of the panel.
        expected: what the paper's panel shows.
        numbers: of the points.
    """

    set: str
    denoiser: str
    title: str
    expected: str
    numbers: Numbers


PANELS: tuple[tuple[str, Mapping[str, Any], str], ...] = (
    ("DDIM-32", {"method": "ddim"}, "covers the density"),
    ("SDS", UNIFORM_5, "fails to fit the density"),
    ("MSD", {}, "on the density's modes"),
    ("MSD, narrow", {}, "not in the paper: on more of the modes"),
)


def panel(book: Book, config: LabConfig, title: str, expected: str, image: Tensor) -> tuple[Panel, Row]:
    """One panel and its numbers, read where they are there."""
    problem = Problem.of(config)
    held = Truth.of(config, problem)
    what = f"figure1, {config.set}, {config.denoiser}, {title}"
    points = book.tensor(what, config, lambda: moved(config, problem))
    found = book.cell(what, config, lambda: held.measure(points))
    head = f"{title}: NLL {found['nll']:.2f}\nprecision {found['precision']:.2f}, recall {found['recall']:.2f}"
    row = Row(config.set, config.denoiser, title, expected, found)
    return Panel(head, image, dots={"points": points}), row


def figure(book: Book, name: str, denoiser: DenoiserName) -> tuple[list[Panel], list[Row]]:
    """One row of panels: true samples, DDIM, SDS, MSD."""
    start = LabConfig(name, denoiser=denoiser, seed=SEED)
    problem = Problem.of(start)
    image = shade(problem.planar.mixture, start.box)
    fresh = problem.sample(start.points**2, SEED, FRESH)
    drawn, rows = [Panel(f"{denoiser} denoiser\ntrue samples", image, dots={"points": fresh})], []
    for title, options, expected in PANELS:
        more = {"bandwidth_start": narrow(name)} if title == "MSD, narrow" else {}
        config = LabConfig(name, denoiser=denoiser, seed=SEED, **{**options, **more})
        one, row = panel(book, config, title, expected, image)
        drawn.append(one)
        rows.append(row)
    return drawn, rows


def main(config: ReproduceConfig) -> None:
    """Draw figure1-SET.png and .pdf; write figure1.md and figure1.json."""
    require()
    sets, book, rows = opened(config), Book(config.folder()), []
    for name in sets:
        drawn = []
        for denoiser in DENOISERS:
            more, measured = figure(book, name, denoiser)
            drawn += more
            rows += measured
        print(keep(config.folder() / f"figure1-{Path(name).stem}", panels(drawn, box=LabConfig(name).box, columns=5)))
    head = ["set", "denoiser", "panel", "NLL", "precision", "recall", "modes found", "expected"]
    names = ("nll", "precision", "recall", "modes_found")
    lines = [[r.set, r.denoiser, r.title, *(f"{r.numbers[n]:.2f}" for n in names), r.expected] for r in rows]
    out = book.report("figure1", table(head, lines), rows)
    print(out.read_text())
