"""``modeseek reproduce solids``: fields driven by each method under an exact denoiser of eight solids, and scored.

The denoiser knows what each of the eight looks like from the camera of a row and nothing of what it said from another
(NERF-4). A field that is one of the solids is a mode from every view; a field that is a bit of each is not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from modeseek.errors import NonFiniteError, UnstableError
from modeseek.experiments.cells import Book, Numbers, Spread
from modeseek.experiments.solids.fields import Build, triplane
from modeseek.experiments.solids.methods import CONTROLS, METHODS, Method
from modeseek.experiments.solids.outcome import Outcome, Setting, run
from modeseek.experiments.solids.score import Judge
from modeseek.experiments.solids.shapes import solids
from modeseek.experiments.solids.views import HELD_OUT, TRAINING, Stock
from modeseek.pictures import enlarge, labelled, png
from modeseek.reports import table
from modeseek.runs import write_atomic

BUDGETS = ((60, 8), (240, 8), (960, 4))  # evaluations a view, and the most seeds at that price
SIZE, TRAINED_ON, HELD = 32, 256, 24  # pixels, cameras to train on, cameras to score from


class Wanted(Protocol):
    """What ``main`` reads of a ``ReproduceConfig``."""

    @property
    def count(self) -> int:
        """Seeds."""

    def folder(self) -> Path:
        """Where the results go."""


@dataclass(frozen=True)
class Arena:
    """What all runs share: views to train on, views to judge by, the field and the setting."""

    stock: Stock
    judge: Judge
    make: Build = triplane
    setting: Setting = field(default_factory=Setting)

    @classmethod
    def of(cls, size: int = SIZE, trained_on: int = TRAINED_ON, held: int = HELD) -> Arena:
        """The eight solids, traced."""
        eight = solids()
        judge = Judge.of(eight, Stock.of(eight, HELD_OUT, held, size))
        return cls(Stock.of(eight, TRAINING, trained_on, size), judge)


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        method: in words.
        budget: evaluations a view that it may spend.
        seeds: how many fields.
        expected: share of fields on one solid: of an MSD at least that of SDS at the same budget.
        share: measured; None where the method cannot be run.
        numbers: over the seeds: iou, psnr, nfe, steps.
        found: how many of the eight solids they ended on.
        note: on the method, or why it cannot be run.
    """

    method: str
    budget: int
    seeds: int
    expected: str
    share: float | None
    numbers: dict[str, Spread]
    found: int
    note: str


def ends(book: Book, arena: Arena, method: Method, budget: int, seeds: int) -> tuple[list[Numbers], list[Tensor]]:
    """Numbers and end pictures of each seed, made or read.

    Raises:
        UnstableError, NonFiniteError: if the method cannot be run.
    """
    numbers, pictures = [], []
    for first in range(0, seeds, method.fields):
        group = list(range(first, first + method.fields))
        made = cache(partial(run, method, budget, group, arena.stock, arena.judge, arena.make, arena.setting))
        for k, seed in enumerate(group):
            what, key = f"solids, {method.name}, {budget}, seed {seed}", (method, budget, group, arena.setting)
            numbers.append(book.cell(what, key, partial(_numbers, made, k)))
            pictures.append(book.tensor(f"{what}, pictures", key, partial(_pictures, made, k)))
    return numbers[:seeds], pictures[:seeds]


def _numbers(made: Callable[[], list[Outcome]], k: int) -> Numbers:
    return made()[k].numbers


def _pictures(made: Callable[[], list[Outcome]], k: int) -> Tensor:
    return made()[k].pictures


def row(method: Method, budget: int, found: Sequence[Numbers], sds: float | None) -> Row:
    """The line of a method."""
    share = sum(n["on_one"] for n in found) / len(found)
    reached = {int(n["solid"]) for n in found if n["on_one"]}
    spreads = {name: Spread.of([n[name] for n in found]) for name in ("iou", "psnr", "nfe", "steps")}
    return Row(method.name, budget, len(found), _expected(method, sds), share, spreads, len(reached), method.note)


def _expected(method: Method, sds: float | None) -> str:
    if method.data != "all":
        return "100 %" if method.data == "one" else "0 %"
    return "" if method.estimator != "msd" or sds is None else f"at least {100 * sds:.0f} %"


def text(rows: Sequence[Row]) -> str:
    """The table as Markdown."""
    head = ["evaluations a view", "method", "spent", "steps", "on one solid", "expected", "IoU", "held-out PSNR, dB"]
    return table([*head, "solids found", "fields", "remarks"], [_line(r) for r in rows])


def _line(r: Row) -> list[object]:
    if r.share is None:
        return [r.budget, r.method, "", "", "cannot run", r.expected, "", "", "", "", r.note]
    spent, steps = (f"{r.numbers[name].mean:.0f}" for name in ("nfe", "steps"))
    scores = [r.numbers["iou"], r.numbers["psnr"], r.found, r.seeds, r.note]
    return [r.budget, r.method, spent, steps, f"{100 * r.share:.0f} %", r.expected, *scores]


def measured(book: Book, arena: Arena, budget: int, seeds: int) -> tuple[list[Row], Tensor]:
    """All rows of one budget, and a sheet of their end pictures, methods under one another, seeds beside."""
    rows: list[Row] = []
    shown, names = [], []
    for method in (*CONTROLS, *METHODS):
        sds = next((r.share for r in rows if r.method == "SDS"), None)
        try:
            numbers, pictures = ends(book, arena, method, budget, seeds)
        except (NonFiniteError, UnstableError) as error:
            rows.append(Row(method.name, budget, 0, _expected(method, sds), None, {}, 0, str(error)))
            continue
        rows.append(row(method, budget, numbers, sds))
        shown.append(torch.stack([p[0] for p in pictures]))
        names.append(method.name.replace("`", "").replace("*", ""))
    return rows, labelled(torch.stack([_enlarged(s) for s in shown]), names)


def _enlarged(images: Tensor, factor: int = 3) -> Tensor:
    return torch.stack([enlarge(image, factor) for image in images])


def main(config: Wanted) -> None:
    """Write solids.md, solids.json, solids.png (the eight) and solids-ends-BUDGET.png; reads count and folder()."""
    book, arena, rows = Book(config.folder()), Arena.of(), []
    seen = arena.judge.held.pictures[:8].transpose(0, 1)
    eight = labelled(torch.stack([_enlarged(s) for s in seen]), [s.name for s in solids()])
    write_atomic(config.folder() / "solids.png", png(eight))
    for budget, most in BUDGETS:
        lines, sheet = measured(book, arena, budget, min(config.count, most))
        rows += lines
        write_atomic(config.folder() / f"solids-ends-{budget}.png", png(sheet))
        out = book.report("solids", text(rows), rows)
    print(out.read_text())
    print(f"{out}, {config.folder() / 'solids.png'}")
