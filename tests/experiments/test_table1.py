"""Table 1: the paper's numbers, the efficiency that a closed form knows, rows that cannot run, the report."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from tiny_laboratory import SET, cells, gaussians, shrink, strict

from modeseek.errors import NonFiniteError, UnstableError
from modeseek.experiments import table1
from modeseek.experiments.cells import Book, Spread
from modeseek.experiments.config import ReproduceConfig
from modeseek.experiments.planar import Method
from modeseek.experiments.table1 import METHODS, PAPER, Row, configure, measure, row, text
from modeseek.lab import problem
from modeseek.lab.config import PAPER_BANDWIDTH
from modeseek.lab.methods import build_estimator
from modeseek.lab.points import dense_grid
from modeseek.lab.problem import Problem
from modeseek.methods import ESTIMATORS, PRODUCT_SAMPLERS

C, H, MU = 0.5, PAPER_BANDWIDTH, [0.4, -0.3]
V = C**2 * H**2 / (C**2 + H**2)  # variance of the product density of N(mu, c^2), per coordinate
ISSUE = {"SDS": (-6.89, -7.57, -6.99), "MSD": (7.65, 6.32, 7.08)}  # fractal, spiral, pinwheel
NUMBERS = dict.fromkeys(("log_own", "log_true", "pooled", "relative_bias", "relative_std", "cosine"), 0.5)
NUMBERS |= {"nfe": 33.0}


@pytest.fixture
def book(tmp_path) -> Book:
    return Book(tmp_path, say=lambda text: None)


def test_the_numbers_of_the_paper():
    expected = {(s, m): v[k] for m, v in ISSUE.items() for k, s in enumerate(("fractal", "spiral", "pinwheel"))}
    assert expected == PAPER
    assert {m.paper for m in METHODS} == {"", *ISSUE}


def test_every_method_is_a_row():
    """A new estimator or sampler needs a row here."""
    made = [configure("fractal", "ideal", m, 0) for m in METHODS]
    assert {c.method for c in made} == set(ESTIMATORS)
    assert {c.sampler for c in made if c.method == "msd"} == set(PRODUCT_SAMPLERS)
    assert len({m.name for m in METHODS}) == len({repr(c) for c in made}) == len(METHODS)


def test_the_setting_of_the_paper():
    """64 points on [-1.5, 1.5]^2, 1000 draws, the initial bandwidth at every step, also at the one that is drawn."""
    assert table1.DRAWS == 1000
    for method in METHODS:
        c = configure("spiral", "learned", method, 2)
        assert (c.set, c.denoiser, c.seed, c.data, c.points, c.box) == ("spiral", "learned", 2, 10_000, 8, 1.5)
        assert c.bandwidth_start == c.bandwidth_end == pytest.approx(0.2236, abs=2e-4)


@pytest.fixture
def gaussian(monkeypatch) -> None:
    monkeypatch.setattr(problem, "open_set", lambda name: gaussians([MU], C))


def shift_of_the_gaussian() -> torch.Tensor:
    """|m|^2 at the 64 points: the shift is v / c^2 (mu - x)."""
    axis = torch.linspace(-1.5, 1.5, 8, dtype=torch.float64)
    return (V / C**2) ** 2 * (torch.cartesian_prod(axis, axis) - torch.tensor(MU, dtype=torch.float64)).square().sum(1)


def test_efficiency_of_true_product_samples(gaussian, monkeypatch):
    """MSD-17: |m|^2 / (2 v cost), the cost that of the sampler, at every x."""
    n = 400
    monkeypatch.setattr(table1, "DRAWS", n)
    found = measure(configure("g", "exact", Method("MSD", {"sampler": "exact", "sample_steps": 256}), 0))
    assert (found["nfe"], found["draws"]) == (257, n)
    power = shift_of_the_gaussian()
    expected = float((power / (2 * V * 257)).log().mean())
    # of ln(variance), 2 (n - 1) degrees of freedom, and of ln |mean|^2; 256 steps take up to 2 % of the variance
    error = math.sqrt(float((1 / (n - 1) + 4 * V / (n * power)).sum())) / 64
    for reference in ("log_own", "log_true"):
        assert abs(found[reference] - expected) < 5 * error + 0.02
    signal = float(power.sum())
    assert found["relative_std"] == pytest.approx(math.sqrt(64 * 2 * V / signal), rel=0.04)
    assert found["relative_bias"] < 5 * math.sqrt(64 * 2 * V / n / signal)


def test_efficiency_of_sds(gaussian, monkeypatch):
    """MSD-17 at one level: |s (x - mu)|^2 / (2 c^4), whatever the weight."""
    monkeypatch.setattr(table1, "DRAWS", 1000)
    more = {"method": "sds", "time_low": 0.3, "time_high": 0.3}
    config = configure("g", "exact", Method("SDS", more), 0)
    estimator = build_estimator(config, Problem.of(config))
    (s,) = estimator.levels.at(0)
    power = shift_of_the_gaussian() * (C**2 / V * s) ** 2
    error = math.sqrt(float((1 / 999 + 4 * 2 * C**4 / 2 / (1000 * power)).sum())) / 64
    found = measure(config)
    assert found["nfe"] == 1
    assert abs(found["log_own"] - float((power / (2 * C**4)).log().mean())) < 5 * error


@pytest.mark.parametrize("denoiser", ["exact", "ideal", "learned"])
def test_the_posterior_mean_has_no_variance(denoiser, tmp_path, monkeypatch):
    """Whatever rows a call has: not a small variance, none; with the exact denoiser no bias either."""
    shrink(monkeypatch.setattr, tmp_path)
    found = measure(configure(SET, denoiser, METHODS[6], 0))
    assert METHODS[6].name == "MSD, `posterior_mean`"
    assert (found["log_own"], found["relative_std"], found["draws"]) == (math.inf, 0, 2)
    assert (found["log_true"] == math.inf) == (denoiser == "exact")
    assert found["relative_bias"] == 0 if denoiser == "exact" else found["relative_bias"] > 0


def test_the_truth_is_the_mixtures(monkeypatch):
    """Not that of the data behind the ideal denoiser."""
    seen = []
    monkeypatch.setattr(table1, "efficiency", lambda draws, truth, cost: seen.append(truth) or 1 / 0)
    config = dataclasses.replace(configure(SET, "ideal", METHODS[6], 0), data=50)
    with pytest.raises(ZeroDivisionError):
        measure(config)
    x = dense_grid(config).requires_grad_()
    density = Problem.of(config).density
    (score,) = torch.autograd.grad(density.log_prob(x, H).sum(), x)
    torch.testing.assert_close(seen[0], -(H**2) * score, rtol=1e-8, atol=1e-10)


# -- rows --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [UnstableError("it diverges"), NonFiniteError("the gradient must be finite")])
def test_what_cannot_run_is_a_row_that_says_so(book, monkeypatch, error):
    def fails(config):
        if config.sampler == "gibbs":
            raise error
        return NUMBERS

    monkeypatch.setattr(table1, "measure", fails)
    rows = [row(book, "fractal", "ideal", m, 3) for m in METHODS]
    assert [r.method for r in rows if r.ours is None] == ["MSD, `gibbs`"]
    assert [r.note for r in rows if r.note] == [str(error)]
    (line,) = [line for line in cells(text(rows)) if "MSD, `gibbs`" in line]
    assert line[-1] == str(error)


def test_the_summed_sampler_diverges_on_the_usual_grid(book):
    found = row(book, SET, "exact", Method("MSD, `summed`", {"sampler": "summed"}), 1)
    assert found.ours is None
    assert found.note.startswith("the summed sampler diverges: ")


def test_rows_hold_paper_ours_spread_and_what_differs(book, monkeypatch):
    monkeypatch.setattr(table1, "measure", lambda c: NUMBERS | {"log_own": float(c.seed**2)})
    rows = {m.name: row(book, "fractal", "learned", m, 3) for m in METHODS}
    sds, mean = rows["SDS, sigma uniform in [0, 5]"], rows["MSD, `posterior_mean`"]
    assert (sds.paper, mean.paper) == (-6.89, 7.65)
    assert sds.ours["log_own"] == Spread(pytest.approx(5 / 3), pytest.approx(math.sqrt(13 / 3)))
    assert (sds.set, sds.denoiser, sds.differs) == ("fractal", "learned", METHODS[0].differs)
    assert rows["SDS, weight 1"].ours["log_own"] == Spread(0.0, None)  # one seed
    assert rows["SDS, weight 1"].paper is None
    assert row(book, "fractal", "learned", METHODS[0], 1).ours["log_own"] == Spread(0.0, None)
    assert row(book, "moons", "learned", METHODS[0], 1).paper is None
    assert all(r.differs for r in rows.values())
    with pytest.raises(dataclasses.FrozenInstanceError):
        sds.paper = 0.0


def test_the_table_says_which_number_is_which():
    numbers = {
        "log_own": 1.0,
        "log_true": 2.0,
        "pooled": 2.5,
        "relative_bias": 3.0,
        "relative_std": 4.0,
        "cosine": 5.0,
        "nfe": 33.0,
    }
    ours = {name: Spread(value, None) for name, value in numbers.items()}
    head, line = cells(text([Row("moons", "ideal", "m", "d", -6.89, ours)]))
    assert dict(zip(head, line)) == {
        "set": "moons",
        "denoiser": "ideal",
        "estimator": "m",
        "nfe": "33",
        "ln efficiency, own mean": "1.00",
        "paper": "-6.89",
        "ln efficiency, true shift": "2.00",
        "pooled": "2.50",
        "bias": "3.00",
        "spread": "4.00",
        "cosine": "5.00",
        "differs": "d",
    }


def test_the_report(tmp_path, monkeypatch, capsys):
    shrink(monkeypatch.setattr, tmp_path / "cache")
    table1.main(ReproduceConfig("table1", out=tmp_path / "out", sets=(SET,), seeds=2))
    out = capsys.readouterr().out
    report = (tmp_path / "out" / "table1.md").read_text()
    assert report in out
    lines = cells(report)
    assert [line[:3] for line in lines[1:]] == [[SET, d, m.name] for d in ("ideal", "learned") for m in METHODS]
    found = strict(tmp_path / "out" / "table1.json")
    assert [r["method"] for r in found] == [line[2] for line in lines[1:]]
    assert [r["method"] for r in found if r["ours"] is None] == ["MSD, `summed`"] * 2
    assert all((" ± " in line[6]) == (METHODS[k % len(METHODS)].seeds > 1) for k, line in enumerate(lines[1:]))

    def refuse(config):
        raise UnstableError("again")  # only rows that could not run are tried again

    monkeypatch.setattr(table1, "measure", refuse)
    table1.main(ReproduceConfig("table1", out=tmp_path / "out", sets=(SET,), seeds=2))
    again = strict(tmp_path / "out" / "table1.json")
    assert [r["ours"] for r in again] == [r["ours"] for r in found]
