"""Figure 3: landscapes whose phantom minimum is known, bias and spread that a closed form knows, the files."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from PIL import Image
from tiny_laboratory import SET, cells, gaussians, shrink, strict

from modeseek.experiments import figure3
from modeseek.experiments.cells import Book
from modeseek.experiments.config import ReproduceConfig
from modeseek.experiments.figure3 import BANDWIDTHS, ESTIMATORS, LEAST, PANELS, biases, spread, surveyed
from modeseek.lab import problem
from modeseek.lab.config import LabConfig
from modeseek.lab.methods import build_estimator
from modeseek.lab.problem import Problem
from modeseek.methods import ESTIMATORS as ALL

FILES = [
    *("figure3-bias.pdf", "figure3-bias.png"),
    *(f"figure3-{SET}.pdf", f"figure3-{SET}.png", "figure3.json", "figure3.md"),
]
C, MU = 0.5, [0.4, -0.3]


def quiet(path) -> Book:
    return Book(path, say=lambda text: None)


def test_every_estimator_has_a_landscape():
    made = [LabConfig("fractal", **options) for _, options, _ in PANELS]
    assert {c.method for c in made} == set(ALL)
    assert {(c.points, c.seed, c.field, c.guidance) for c in made} == {(32, 0, 81, "none")}


TWO = {"denoiser": "exact", "field": 33, "steps": 20, "points": 6}


def test_the_phantom_between_two_modes(tmp_path, monkeypatch):
    """SDS at wide levels descends to the mean of two Gaussians, MSD to each of them."""
    monkeypatch.setattr(problem, "open_set", lambda name: gaussians([[-0.5, 0.03], [0.5, -0.02]], 0.15))
    book, found = quiet(tmp_path), []
    for title, options, _ in (PANELS[0], PANELS[-1]):
        found.append(surveyed(book, LabConfig("two", **options | TWO | {"field_draws": 40}), title))
    assert (PANELS[0][0], PANELS[-1][0]) == ("SDS, sigma to 5", "MSD, posterior mean")
    (panel, phantom), (_, modes) = found
    assert (phantom["minima"], phantom["phantom_minima"], phantom["modes_without_minimum"]) == (1, 1, 2)
    assert (modes["minima"], modes["phantom_minima"], modes["modes_without_minimum"]) == (2, 0, 0)
    assert modes["nll_at_minima"] < phantom["nll_at_minima"]
    at = panel.marks["phantom minima"]
    assert float((at - torch.tensor([0.0, 0.005])).norm()) < 0.1
    assert panel.title.endswith("\n1 minima, 1 phantom")
    peak = -math.log(2 * math.pi * 0.15**2 * 2)  # of p, half of the weight at either mode
    assert modes["nll_at_minima"] == pytest.approx(-peak, abs=0.01)


def test_no_minimum_is_no_number(tmp_path, monkeypatch):
    """A landscape whose lowest place is outside the box."""
    monkeypatch.setattr(problem, "open_set", lambda name: gaussians([[9.0, 9.0]], 0.5))
    panel, numbers = surveyed(quiet(tmp_path), LabConfig("far", **TWO), "MSD")
    assert (numbers["minima"], numbers["phantom_minima"]) == (0, 0)
    assert math.isnan(numbers["nll_at_minima"])
    assert len(panel.marks["true modes"]) == 0


def test_no_mode_in_the_box(tmp_path, monkeypatch):
    """Every minimum is then a phantom."""
    monkeypatch.setattr(problem, "open_set", lambda name: gaussians([[-2.5, 0.03], [2.5, -0.02]], 0.5))
    config = LabConfig("two", **PANELS[0][1] | TWO | {"field_draws": 40})
    panel, numbers = surveyed(quiet(tmp_path), config, "SDS")
    assert numbers["minima"] == numbers["phantom_minima"] > 0
    assert len(panel.marks["true modes"]) == len(panel.marks["minima at a mode"]) == 0


def test_vsd_is_drawn_against_its_own_end(tmp_path, monkeypatch):
    """Its field is that of the particles where they ended, not of the grid."""
    seen = []
    real = figure3.landscape
    monkeypatch.setattr(figure3, "landscape", lambda c, p, points: seen.append(points) or real(c, p, points))
    config = LabConfig(SET, **TWO | {"method": "vsd", "field": 9, "field_draws": 2})
    figure3.field(config)
    torch.testing.assert_close(seen[0], figure3.moved(config, Problem.of(config)), rtol=0, atol=0)
    figure3.field(dataclasses.replace(config, method="sds"))
    assert seen[1] is None


# -- bias and spread ---------------------------------------------------------------------------------------------------


def single(h: float, **options) -> LabConfig:
    fixed = {"points": 8, "steps": 3, "bandwidth_start": h, "bandwidth_end": h, "denoiser": "exact"}
    return LabConfig("g", **fixed | options)


@pytest.mark.parametrize("h", [0.1, 0.5])
def test_spread_of_one_product_sample(monkeypatch, h):
    """On N(mu, c^2): variance v = c^2 h^2 / (c^2 + h^2) a coordinate, shift v / c^2 (mu - x)."""
    monkeypatch.setattr(problem, "open_set", lambda name: gaussians([MU], C))
    monkeypatch.setattr(figure3, "DRAWS", 100)
    axis, v = torch.linspace(-1.5, 1.5, 8, dtype=torch.float64), C**2 * h**2 / (C**2 + h**2)
    shift = v / C**2 * float((torch.cartesian_prod(axis, axis) - torch.tensor(MU, dtype=torch.float64)).norm())
    expected = math.sqrt(64 * 2 * v) / shift
    found = spread(single(h, sampler="exact", sample_steps=128))
    assert found["std"] == pytest.approx(expected, rel=0.02 + 5 / math.sqrt(2 * 64 * 2 * 99))
    assert found["bias"] < 5 * expected / math.sqrt(100)
    assert spread(single(h)) == pytest.approx({"bias": 0, "std": 0, "cosine": 1}, abs=1e-9)


def test_sds_is_drawn_at_the_bandwidth(tmp_path, monkeypatch):
    """Up to half a step of the table of levels."""
    seen = []
    monkeypatch.setattr(figure3, "spread", lambda c: seen.append(c) or {"bias": 0.25, "std": 0.0, "cosine": 1.0})
    plots = biases(quiet(tmp_path), SET)
    assert [(p.y, p.log_x, p.log_y) for p in plots] == [
        ("bias / |shift|", True, True),
        ("spread of one draw / |shift|", True, True),
    ]
    assert {name: [h for h, _ in line] for name, line in plots[0].lines.items()} == {
        name: list(BANDWIDTHS) for name, _ in ESTIMATORS
    }
    assert {y for line in plots[0].lines.values() for _, y in line} == {0.25}
    assert {y for line in plots[1].lines.values() for _, y in line} == {LEAST}  # zero, on a logarithmic axis
    for c in seen:
        assert (c.points, c.bandwidth_start) == (8, c.bandwidth_end)
        if c.method == "sds":
            levels = build_estimator(c, Problem.of(dataclasses.replace(c, denoiser="exact")))
            (s,) = {float(x) for x in levels.levels(torch.Generator().manual_seed(0), 9)}
            assert abs(s - c.bandwidth_start) <= 0.0026


def test_the_figure_is_drawn_again_from_what_was_kept(tmp_path, monkeypatch, capsys):
    shrink(monkeypatch.setattr, tmp_path / "cache")
    config, out = ReproduceConfig("figure3", out=tmp_path / "out", sets=(SET,)), tmp_path / "out"
    figure3.main(config)
    assert sorted(p.name for p in out.iterdir() if p.is_file()) == FILES
    assert (out / "figure3.md").read_text() in capsys.readouterr().out
    first = [(out / name).read_bytes() for name in FILES]
    head, *lines = cells((out / "figure3.md").read_text())
    assert head[2:-1] == ["minima", "phantom minima", "modes without minimum", "nll at minima", "rotation"]
    assert [line[1] for line in lines] == [title for title, *_ in PANELS]
    assert [r["title"] for r in strict(out / "figure3.json")] == [line[1] for line in lines]
    assert min(Image.open(out / FILES[3]).size) > 600  # three columns, two rows

    def refuse(*arguments):
        raise AssertionError("this was measured already")

    for name in ("moved", "landscape", "gradients"):
        monkeypatch.setattr(figure3, name, refuse)
    figure3.main(config)
    assert [(out / name).read_bytes() for name in FILES] == first
