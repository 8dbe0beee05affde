"""The report: rows with what is expected beside them, what cannot run, pictures, and cells that survive a kill."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image
from voxels import voxels

from modeseek.experiments import solids as entry
from modeseek.experiments.cells import Book
from modeseek.experiments.solids import outcome, table
from modeseek.experiments.solids.methods import CONTROLS, METHODS
from modeseek.experiments.solids.table import Arena, row, text

CELL = {"solid": 3.0, "psnr": 30.0, "margin": 12.0, "iou": 0.9, "on_one": 1.0, "nfe": 240.0, "steps": 240.0}
BY_NAME = {m.name: m for m in (*METHODS, *CONTROLS)}


@dataclass(frozen=True)
class Config:
    out: Path
    count: int = 2

    def folder(self) -> Path:
        return self.out


def test_a_row_counts_solids_and_holds_msd_against_sds():
    missed = CELL | {"on_one": 0.0, "solid": 5.0, "iou": 0.3}
    made = row(BY_NAME["MSD, `exact`"], 240, [CELL, CELL | {"solid": 1.0}, missed, CELL], 0.5)
    assert (made.share, made.found, made.seeds, made.expected) == (0.75, 2, 4, "at least 50 %")
    assert made.numbers["iou"].mean == pytest.approx((3 * 0.9 + 0.3) / 4)
    assert row(BY_NAME["SDS"], 240, [CELL], None).expected == ""
    assert [row(m, 240, [CELL], 0.5).expected for m in CONTROLS] == ["100 %", "0 %"]
    line = text([made]).splitlines()[2]
    assert "| 75 % | at least 50 % | 0.75 ± 0.30 | 30.00 ± 0.00 | 2 | 4 |" in line


def test_the_report(tmp_path, monkeypatch):
    """All methods at a tiny price; summed says why it cannot run; a second call measures nothing."""
    arena = Arena.of(size=8, trained_on=4, held=2)
    small = Arena(arena.stock, arena.judge, lambda seed: voxels(seed, samples=6), outcome.Setting(shown=1))
    monkeypatch.setattr(Arena, "of", lambda: small)
    monkeypatch.setattr(table, "BUDGETS", ((2, 2), (4, 1)))
    entry.main(Config(tmp_path))
    written = (tmp_path / "solids.md").read_text()
    rows = json.loads((tmp_path / "solids.json").read_text())
    assert len(rows) == 2 * (len(METHODS) + len(CONTROLS))
    assert [r["seeds"] for r in rows if r["method"] == "SDS"] == [2, 1]
    assert all((r["share"] is None) == ("summed" in r["method"]) for r in rows)
    assert "cannot run" in written
    assert "the summed sampler diverges" in written
    for name in ("solids.png", "solids-ends-2.png", "solids-ends-4.png"):
        assert Image.open(tmp_path / name).size[0] > 20
    monkeypatch.setattr(outcome, "distill", lambda *a, **k: pytest.fail("measured again"))
    entry.main(Config(tmp_path))
    assert (tmp_path / "solids.md").read_text() == written


def test_a_cell_that_is_lost_is_made_again(tmp_path, monkeypatch):
    arena = Arena.of(size=8, trained_on=4, held=2)
    small = Arena(arena.stock, arena.judge, lambda seed: voxels(seed, samples=6), outcome.Setting(shown=1))
    book = Book(tmp_path, say=lambda line: None)
    first = table.ends(book, small, BY_NAME["VSD"], 4, 3)
    assert [len(part) for part in first] == [3, 3]  # of the four that are driven together
    next((tmp_path / "cells").glob("*.json")).unlink()
    assert table.ends(book, small, BY_NAME["VSD"], 4, 3)[0] == first[0]
