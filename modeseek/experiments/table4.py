"""Quality against cost: every method at several budgets of denoiser evaluations, each with a run made for its budget.

The paper's Table 4 was not at hand; this stands in its place. A run's schedules end where the run ends, so the points
are finished pictures, not stations of a longer run, which the curves of table3 show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modeseek.compare.config import Contender
from modeseek.compare.measure import Gauge
from modeseek.compare.protocols import configure
from modeseek.compare.report import with_interval
from modeseek.compare.run import Comparison
from modeseek.experiments.config import ReproduceConfig
from modeseek.experiments.images import begin, floor, opened, tell
from modeseek.metrics.results import Result
from modeseek.plots import Curves, curves, keep
from modeseek.reports import table

BUDGETS = (240, 480, 960, 1920)  # evaluations a picture
METHODS = (Contender("sds"), Contender("vsd"), Contender("sdi"), Contender("msd"))
PAPER, PAPER_BUDGET = Contender("msd", "paper"), 38_400


@dataclass(frozen=True)
class Line:
    """A method at a budget.

    Attributes:
        method: its name.
        steps: of the optimiser.
        nfe: evaluations, as many as whole steps fit into the budget.
        pictures: that were made.
        seconds: of one picture's share of its batch.
        frechet: distance to the reference.
        similarity: to the prompts.
    """

    method: str
    steps: int
    nfe: int
    pictures: int
    seconds: float
    frechet: Result
    similarity: Result


def within(comparison: Comparison, contender: Contender, budget: int) -> Contender:
    """The method with the most optimiser steps whose evaluations fit into the budget; with one step at least."""
    refresh = configure(comparison.config, contender, comparison.texts[0], 0).settings.refresh_every
    low, high = 1, budget * refresh
    while low < high:
        middle = (low + high + 1) // 2
        fits = comparison.nfe(stepping(contender, middle, budget)) <= budget
        low, high = (middle, high) if fits else (low, middle - 1)
    return stepping(contender, low, budget)


def stepping(contender: Contender, steps: int, budget: int) -> Contender:
    """The method with so many steps."""
    return Contender(contender.method, contender.preset, (("steps", steps),), f"{contender} {budget}")


def points(comparison: Comparison, full: bool) -> tuple[Contender, ...]:
    """Every method at every budget."""
    found = [within(comparison, contender, budget) for contender in METHODS for budget in BUDGETS]
    return (*found, *([within(comparison, PAPER, PAPER_BUDGET)] if full else ()))


def line(gauge: Gauge, contender: Contender) -> Line | None:
    """The numbers of a point; None if its pictures failed."""
    row = gauge.row(contender)
    if row is None:
        return None
    found, steps = row.results, dict(contender.options)["steps"]
    name = contender.label.rpartition(" ")[0]
    return Line(name, steps, row.nfe, row.pictures, row.seconds, found["frechet"], found["similarity"])


def text(lines: Sequence[Line], lowest: Result) -> str:
    """The table as Markdown."""
    head = ["method", "steps", "nfe", "pictures", "Fréchet distance (95 %)", "similarity x 100", "s a picture"]
    note = f"Floor, DDIM with other seeds: {lowest.value:.4f}, {lowest.label}.\n"
    return table(head, [_cells(x) for x in lines]) + "\n" + note


def _cells(x: Line) -> list[object]:
    shown = [with_interval(x.frechet), f"{x.similarity.value:.1f}", f"{x.seconds:.1f}"]
    return [x.method, x.steps, x.nfe, x.pictures, *shown]


def main(config: ReproduceConfig) -> int:
    """Make the pictures that are missing; write table4.md, table4.json and table4.png."""
    comparison = opened(config, METHODS)
    comparison.methods = points(comparison, config.full)
    if not begin(comparison, config):
        return 0
    gauge = Gauge.of(comparison)
    lowest = floor(gauge).results["frechet"]
    lines = [x for x in (line(gauge, contender) for contender in comparison.methods) if x is not None]
    keep(config.folder() / "table4", draw(lines, lowest))
    return tell(comparison, config, text(lines, lowest), lines)


def draw(lines: Sequence[Line], lowest: Result) -> dict[str, bytes]:
    """Distance and similarity against evaluations."""
    names = list(dict.fromkeys(x.method for x in lines))
    distances = {n: [(x.nfe, max(x.frechet.value, 1e-4)) for x in lines if x.method == n] for n in names}
    similar = {n: [(x.nfe, x.similarity.value) for x in lines if x.method == n] for n in names}
    label, level = "evaluations a picture", {"DDIM, other seeds": max(lowest.value, 1e-4)}
    return curves(
        [
            Curves("", label, "Fréchet distance to DDIM", distances, log_x=True, log_y=True, levels=level),
            Curves("", label, "image-text similarity x 100", similar, log_x=True),
        ]
    )
