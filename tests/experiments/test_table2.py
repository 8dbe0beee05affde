"""Table 2: the paper's numbers, every method, true samples beside them, rows that cannot run, report and figures."""

from __future__ import annotations

import dataclasses

import pytest
from PIL import Image
from tiny_laboratory import SET, cells, shrink, strict

from modeseek.errors import NonFiniteError, UnstableError
from modeseek.experiments import table2
from modeseek.experiments.cells import Book, Spread
from modeseek.experiments.config import ReproduceConfig
from modeseek.experiments.planar import Method
from modeseek.experiments.table2 import MEASURED, METHODS, PAPER, Row, configure, row, text
from modeseek.lab.config import PAPER_BANDWIDTH
from modeseek.methods import ESTIMATORS, PRODUCT_SAMPLERS

ISSUE = """
fractal DDIM -1.85/-1.51 .97/.95 .93/.96
fractal SDS 36.15/9.12 .08/.01 .03/0
fractal MSD -1.32/-2.02 .92/.97 .33/.42
spiral MSD -1.28/-1.51 .99/.98 .18/.18
pinwheel MSD -1.94/-2.19 .99/.99 .01/.13
"""
NUMBERS = {name: k + 0.5 for k, name in enumerate(MEASURED)}


@pytest.fixture
def book(tmp_path) -> Book:
    return Book(tmp_path, say=lambda text: None)


def test_the_numbers_of_the_paper():
    expected = {}
    for name, method, *pairs in map(str.split, ISSUE.split("\n")[1:-1]):
        for k, denoiser in enumerate(("ideal", "learned")):
            expected[name, denoiser, method] = tuple(float(pair.split("/")[k]) for pair in pairs)
    assert len(expected) == 10
    assert expected == PAPER
    assert {m.paper for m in METHODS} == {"", "DDIM", "SDS", "MSD"}


def test_every_method_is_a_row():
    """A new estimator or sampler needs a row here; VSD with either auxiliary."""
    made = [configure("fractal", "ideal", m, 0, False) for m in METHODS]
    assert {c.method for c in made} == {"ddim", *ESTIMATORS}
    assert {c.sampler for c in made if c.method == "msd"} == set(PRODUCT_SAMPLERS)
    assert {c.auxiliary for c in made if c.method == "vsd"} == {"particles", "trained"}
    assert len({m.name for m in METHODS}) == len({repr(c) for c in made}) == len(METHODS)


def test_the_setting():
    """150 steps of Adam at 0.08 from a 16 x 16 grid, bandwidth falling linearly from the paper's to 0.02, N = 1."""
    for method in METHODS:
        c = configure("spiral", "learned", method, 2, False)
        assert (c.set, c.denoiser, c.seed, c.data, c.points, c.box) == ("spiral", "learned", 2, 10_000, 16, 1.5)
        assert (c.steps, c.lr, c.bandwidth_shape, c.bandwidth_end, c.n_samples) == (150, 0.08, "linear", 0.02, 1)
        assert c.bandwidth_start == (0.1 if method.narrow else PAPER_BANDWIDTH)


def test_full_is_a_thousand_product_samples():
    """Where there is something to average, and the row says so."""
    for method in METHODS:
        sampled = method.options.get("sampler", "posterior_mean") != "posterior_mean"
        assert configure("fractal", "ideal", method, 0, True).n_samples == (1000 if sampled else 1)
        assert configure("fractal", "ideal", method, 0, False).n_samples == 1


def test_full_changes_what_differs(book, monkeypatch):
    monkeypatch.setattr(table2, "measure", lambda c: NUMBERS)
    (exact,) = [m for m in METHODS if m.name == "MSD, `exact`"]
    assert row(book, "fractal", "ideal", exact, 1, False).differs == exact.differs
    assert row(book, "fractal", "ideal", exact, 1, True).differs == "1000 product samples a step, as the paper"
    assert row(book, "fractal", "ideal", METHODS[1], 1, True).differs == METHODS[1].differs


# -- rows --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [UnstableError("it diverges"), NonFiniteError("the gradient must be finite")])
def test_what_cannot_run_is_a_row_that_says_so(book, monkeypatch, error):
    def fails(config):
        if config.sampler == "gibbs":
            raise error
        return NUMBERS

    monkeypatch.setattr(table2, "measure", fails)
    rows = [row(book, "fractal", "ideal", m, 3, False) for m in METHODS]
    assert [r.method for r in rows if r.ours is None] == ["MSD, `gibbs`"]
    truths = {("fractal", "ideal"): NUMBERS | {"entropy": -1.35}}
    (line,) = [line for line in cells(text(rows, truths)) if "MSD, `gibbs`" in line]
    assert line[-1] == str(error)
    assert set(line[3:-1]) == {""}


def test_the_summed_sampler_diverges(book):
    found = row(book, SET, "exact", METHODS[-1], 1, False)
    assert found.ours is None
    assert found.note.startswith("the summed sampler diverges: ")
    assert found.note.count("diverges") == 1


def test_rows_hold_paper_ours_spread_and_what_differs(book, monkeypatch):
    monkeypatch.setattr(table2, "measure", lambda c: NUMBERS | {"nll": float(c.seed)})
    rows = {m.name: row(book, "fractal", "learned", m, 3, False) for m in METHODS}
    assert rows["SDS, sigma uniform in [0, 5]"].paper == (9.12, 0.01, 0.0)
    assert rows["DDIM-32"].paper == (-1.51, 0.95, 0.96)
    assert rows["MSD, `exact`"].paper == rows["MSD, `posterior_mean`"].paper == (-2.02, 0.97, 0.42)
    assert rows["SDI"].paper is None
    assert rows["MSD, `exact`"].ours["nll"] == Spread(1.0, 1.0)
    assert rows["SDI"].ours["nll"] == Spread(0.0, None)  # one seed
    assert row(book, "spiral", "learned", METHODS[1], 1, False).paper is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        rows["SDI"].paper = None


def test_the_table_says_which_number_is_which():
    ours = {name: Spread(value, None) for name, value in NUMBERS.items()}
    rows = [Row("moons", "ideal", "m", "d", (-1.0, 0.25, 0.75), ours), Row("moons", "learned", "other", "", None, ours)]
    truths = {("moons", "ideal"): NUMBERS | {"entropy": -1.35}}
    head, true, line = cells(text(rows, truths))
    assert head == [
        *["set", "denoiser", "method", "NLL", "paper", "precision", "paper", "recall", "paper"],
        *["at a mode", "modes found", "MMD x 1e3", "differs"],
    ]
    numbers = {"nll": "0.50", "precision": "1.50", "recall": "2.50", "at_modes": "4.50", "modes_found": "5.50"}
    shown = [numbers["nll"], "-1.00", numbers["precision"], "0.25", numbers["recall"], "0.75"]
    end = [numbers["at_modes"], numbers["modes_found"]]
    assert line == ["moons", "ideal", "m", *shown, *end, "3500", "d"]
    blank = [cell if k % 2 == 0 else "" for k, cell in enumerate(shown)]
    assert true == ["moons", "ideal", "*true samples*", *blank, *end, "3500.00", "entropy -1.35"]


def test_the_report(tmp_path, monkeypatch, capsys):
    shrink(monkeypatch.setattr, tmp_path / "cache")
    config = ReproduceConfig("table2", out=tmp_path / "out", sets=(SET,), seeds=2)
    table2.main(config)
    report = (tmp_path / "out" / "table2.md").read_text()
    assert report in capsys.readouterr().out
    lines = cells(report)
    names = ["*true samples*", *(m.name for m in METHODS)]
    assert [line[:3] for line in lines[1:]] == [[SET, d, name] for d in ("ideal", "learned") for name in names]
    found = strict(tmp_path / "out" / "table2.json")
    assert [r["method"] for r in found if r["ours"] is None] == ["MSD, `summed`"] * 2
    assert all(set(r["ours"]) == {*MEASURED, "modes", "points"} for r in found if r["ours"])
    settled = cells((tmp_path / "out" / "table2-settling.md").read_text())
    assert [line[0] for line in settled] == [f"{SET}, last bandwidth", "0.01", "0.02"]
    for stem in ("table2-coverage", "table2-variance"):
        assert min(Image.open(tmp_path / "out" / f"{stem}.png").size) > 300
        assert (tmp_path / "out" / f"{stem}.pdf").read_bytes().startswith(b"%PDF")


def test_method_rows_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Method("m", {}).seeds = 2
