"""Cells: measured once, never trusted when damaged, the same numbers from disk as from the measurement."""

from __future__ import annotations

import json
import math
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from tiny_laboratory import strict

from modeseek import runs
from modeseek.errors import RunError
from modeseek.experiments import cells
from modeseek.experiments.cells import Book, Spread, over_seeds
from modeseek.lab.config import LabConfig
from modeseek.reports import plain, table

KEY = LabConfig("fractal")
NUMBERS = {"a": 1 / 3, "b": -1e-300, "c": 5e300}


class Maker:
    """Measures, and knows how often."""

    def __init__(self, made=NUMBERS):
        self.made, self.calls = made, 0

    def __call__(self):
        self.calls += 1
        return self.made


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path / "new" / "results", say=lambda text: None)


def only(book: Book) -> Path:
    (path,) = (book.path / "cells").iterdir()
    return path


def test_a_cell_is_measured_once(book):
    make = Maker()
    assert book.cell("what", KEY, make) == NUMBERS
    assert book.cell("what", KEY, make) == NUMBERS
    assert Book(book.path).cell("what", KEY, make) == NUMBERS
    assert make.calls == 1


def test_the_file_says_in_words_what_it_is(book):
    book.cell("table9, moons", KEY, Maker())
    found = strict(only(book))
    assert found["what"] == "table9, moons"
    assert repr(KEY) in found["key"]
    assert found["numbers"].pop("seconds") >= 0
    assert found["numbers"] == NUMBERS


def test_it_is_told_what_was_measured(tmp_path):
    told = []
    book = Book(tmp_path, say=told.append)
    book.cell("what", KEY, Maker())
    book.cell("what", KEY, Maker())
    book.tensor("points", KEY, lambda: torch.zeros(2))
    assert told == ["what: 0 s", "points: 0 s"]


@pytest.mark.parametrize("change", ["what", "key", "format"])
def test_another_cell(book, monkeypatch, change):
    first, other = Maker(), Maker({"a": 2.0})
    book.cell("what", KEY, first)
    what, key = "what", KEY
    if change == "what":
        what = "what else"
    elif change == "key":
        key = LabConfig("fractal", seed=1)
    else:
        monkeypatch.setattr(cells, "FORMAT", cells.FORMAT + 1)
    assert book.cell(what, key, other) == {"a": 2.0}
    monkeypatch.undo()
    assert book.cell("what", KEY, first) == NUMBERS
    assert (first.calls, other.calls) == (1, 1)


def spoil_truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def spoil_empty(path: Path) -> None:
    path.write_bytes(b"")


def spoil_bytes(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00")


def spoil_foreign(path: Path) -> None:
    path.write_text('["not", "a", "cell"]')


def spoil_nothing_in_it(path: Path) -> None:
    path.write_text(json.dumps({"key": strict(path)["key"], "numbers": [1, 2]}))


def spoil_word(path: Path) -> None:
    path.write_text(path.read_text().replace(str(NUMBERS["a"]), '"many"'))


def spoil_other_key(path: Path) -> None:
    path.write_text(path.read_text().replace("seed=0", "seed=7"))


SPOILS = [spoil_truncate, spoil_empty, spoil_bytes, spoil_foreign, spoil_nothing_in_it, spoil_word, spoil_other_key]


@pytest.mark.parametrize("spoil", SPOILS)
def test_a_damaged_or_foreign_file_is_measured_again(book, spoil):
    make = Maker()
    book.cell("what", KEY, make)
    path = only(book)
    spoil(path)
    assert book.cell("what", KEY, make) == NUMBERS
    assert make.calls == 2
    assert only(book) == path
    assert book.cell("what", KEY, make) == NUMBERS
    assert make.calls == 2


def test_what_is_not_finite_survives_and_is_strict_json(book):
    make = Maker({"up": math.inf, "down": -math.inf, "none": math.nan, "one": 1})
    first, second = book.cell("what", KEY, make), book.cell("what", KEY, make)
    assert make.calls == 1
    strict(only(book))
    for numbers in (first, second):
        assert (numbers["up"], numbers["down"], numbers["one"]) == (math.inf, -math.inf, 1.0)
        assert math.isnan(numbers["none"])
        assert all(type(v) is float for v in numbers.values())


def test_a_measurement_that_fails_leaves_nothing(book):
    def fails():
        raise ArithmeticError("no")

    with pytest.raises(ArithmeticError):
        book.cell("what", KEY, fails)
    with pytest.raises(ArithmeticError):
        book.tensor("what", KEY, fails)
    assert list((book.path / "cells").iterdir()) == []


def test_a_tensor_is_measured_once_with_all_its_bits(book):
    made = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))[:, ::2].requires_grad_()
    make = Maker(made)
    first, second = book.tensor("what", KEY, make), book.tensor("what", KEY, make)
    assert make.calls == 1
    assert second.dtype == torch.float64
    assert torch.equal(first, made)
    assert torch.equal(second, made)
    assert not first.requires_grad
    assert torch.equal(book.tensor("what", LabConfig("moons"), Maker(made + 1)), made + 1)


@pytest.mark.parametrize("spoil", [spoil_truncate, spoil_empty, spoil_bytes, spoil_foreign])
def test_a_damaged_tensor_is_measured_again(book, spoil):
    make = Maker(torch.arange(6.0))
    book.tensor("what", KEY, make)
    spoil(only(book))
    assert torch.equal(book.tensor("what", KEY, make), torch.arange(6.0))
    assert make.calls == 2


def test_a_tensor_of_another_name_is_none(book):
    from safetensors.torch import save_file

    make = Maker(torch.arange(6.0))
    book.tensor("what", KEY, make)
    save_file({"weights": torch.zeros(6)}, only(book))
    assert torch.equal(book.tensor("what", KEY, make), torch.arange(6.0))


def test_a_tensor_and_numbers_of_one_cell_do_not_meet(book):
    book.tensor("what", KEY, lambda: torch.zeros(1))
    assert book.cell("what", KEY, Maker()) == NUMBERS
    assert torch.equal(book.tensor("what", KEY, lambda: torch.ones(1)), torch.zeros(1))


# -- disk --------------------------------------------------------------------------------------------------------------


def test_results_go_to_a_folder(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match=r"results must go to a folder; .*file is a file"):
        Book(tmp_path / "file")
    with pytest.raises(RunError, match=r"file/below must be writable: Not a directory"):
        Book(tmp_path / "file" / "below")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("out", ["/proc/x", "/dev/full/x", "/dev/null/a/b"])
def test_nowhere_to_write(out):
    with pytest.raises(RunError, match=f"{out} must be writable"):
        Book(Path(out))


def test_a_disk_that_fills_up(book, monkeypatch):
    import errno

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    book.cell("what", KEY, Maker())
    before = only(book).read_bytes()
    with monkeypatch.context() as broken:
        broken.setattr(runs.os, "replace", full)
        with pytest.raises(RunError, match="must be writable: No space left on device"):
            book.cell("what else", KEY, Maker())
    assert only(book).read_bytes() == before
    assert book.cell("what else", KEY, Maker()) == NUMBERS


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_while_it_writes(book):
    """Before the new file has its name there is none; the next measurement leaves no half of it either."""
    child = os.fork()
    if child == 0:
        runs.os.replace = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
        book.cell("what", KEY, Maker())
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert only(book).suffix == ".part"
    make = Maker()
    assert book.cell("what", KEY, make) == NUMBERS
    assert make.calls == 1
    assert only(book).suffix == ".json"


# -- reports -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    name: str
    paper: float | None
    ours: dict[str, Spread]
    pair: tuple[float, float] = (1.0, math.nan)


def test_a_report_is_strict_json_and_markdown(book):
    rows = [Row("x", None, {"own": Spread(math.inf, None), "true": Spread(7.5, 0.25)})]
    path = book.report("table9", "| a |\n", rows)
    assert path == book.path / "table9.md"
    assert path.read_text() == "| a |\n"
    (found,) = strict(book.path / "table9.json")
    own, true = {"mean": "inf", "spread": None}, {"mean": 7.5, "spread": 0.25}
    assert found == {"name": "x", "paper": None, "ours": {"own": own, "true": true}, "pair": [1.0, "nan"]}


def test_reports_depend_on_no_clock(book, monkeypatch):
    ticks = iter(range(0, 1000, 7))
    monkeypatch.setattr(cells.time, "perf_counter", lambda: next(ticks) ** 2)
    measured = [book.cell("what", LabConfig("moons", seed=k), Maker()) for k in (0, 1)]
    assert measured[0] == measured[1] == book.cell("what", LabConfig("moons"), Maker())
    assert set(over_seeds(measured)) == set(NUMBERS)


def test_plain():
    assert plain({"a": [math.inf, (1, "x")], "b": None, "c": True}) == {"a": ["inf", [1, "x"]], "b": None, "c": True}


def test_spread():
    assert Spread.of([2.0]) == Spread(2.0, None)
    found = Spread.of([1.0, 2.0, 4.5])
    assert found.mean == pytest.approx(2.5)
    assert found.spread == pytest.approx(math.sqrt((1.5**2 + 0.5**2 + 2**2) / 2))
    assert Spread.of([math.inf] * 3) == Spread(math.inf, None)


@pytest.mark.parametrize("values", [[1.0, math.inf, 2.0], [math.inf, 1.0]])
def test_one_infinity_is_not_hidden_by_the_other_seeds(values):
    assert Spread.of(values) == Spread(math.inf, None)
    assert math.isnan(Spread.of([1.0, math.nan]).mean)
    assert math.isnan(Spread.of([math.inf, -math.inf]).mean)


@pytest.mark.parametrize(
    ("spread", "shown"),
    [
        (Spread(1.234, None), "1.23"),
        (Spread(-7.566, 0.061), "-7.57 ± 0.06"),
        (Spread(1234.5, 20.4), "1234 ± 20"),
        (Spread(math.inf, None), "inf"),
        (Spread(math.nan, None), "nan"),
    ],
)
def test_spread_for_people(spread, shown):
    assert str(spread) == shown


def test_over_seeds():
    found = over_seeds([{"a": 1.0, "b": 0.0}, {"a": 3.0, "b": 0.0}])
    assert found == {"a": Spread(2.0, pytest.approx(math.sqrt(2))), "b": Spread(0.0, 0.0)}


def test_a_table():
    shown = table(["a", "b"], [[1, Spread(2.0, None)], ["|x|", ""]])
    assert shown == "| a | b |\n|---|---|\n| 1 | 2.00 |\n| \\|x\\| |  |\n"
