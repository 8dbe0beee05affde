"""Coverage against the initial bandwidth, and the spread of a mean of product samples."""

from __future__ import annotations

import math

import pytest
from tiny_laboratory import SET, gaussians, shrink

from modeseek.experiments import coverage
from modeseek.experiments.cells import Book
from modeseek.lab import problem
from modeseek.lab.config import PAPER_BANDWIDTH, LabConfig
from modeseek.methods import PRODUCT_SAMPLERS

C, H, MU = 0.5, PAPER_BANDWIDTH, [0.4, -0.3]


def refuse(*arguments):
    raise AssertionError("this was measured already")


def quiet(path) -> Book:
    return Book(path, say=lambda text: None)


def test_what_is_varied():
    """From the least bandwidth to more than the paper's, whose row it is to explain; below the default end too."""
    assert list(coverage.STARTS) == sorted(coverage.STARTS)
    assert PAPER_BANDWIDTH in coverage.STARTS
    default = LabConfig("fractal").bandwidth_end
    assert min(coverage.STARTS) >= default
    assert default in coverage.ENDS
    assert min(coverage.ENDS) < default


def test_every_random_sampler_has_a_curve():
    """Not the posterior mean, which has no spread, nor summed, which diverges on this grid."""
    assert set(coverage.SAMPLERS) == set(PRODUCT_SAMPLERS) - {"posterior_mean", "summed"}


def test_cells_by_bandwidth(tmp_path, monkeypatch):
    shrink(monkeypatch.setattr, tmp_path)
    book = quiet(tmp_path)
    found = coverage.coverage(book, SET, "ideal")
    assert [start for start, _ in found] == list(coverage.STARTS)
    assert found[0][1] != found[1][1]
    ends = coverage.smaller(book, SET)
    assert [end for end, _ in ends] == list(coverage.ENDS)
    lines = coverage.variance(book, SET)
    assert list(lines) == list(coverage.SAMPLERS)
    assert all([n for n, _ in line] == [1, 10, 100] for line in lines.values())
    kept = sorted((tmp_path / "cells").iterdir())
    assert len(kept) == 2 + 2 + 2 * 3
    for name in ("measure", "draw"):
        monkeypatch.setattr(coverage, name, refuse)
    assert coverage.coverage(book, SET, "ideal") == found
    assert coverage.smaller(book, SET) == ends
    assert coverage.variance(book, SET) == lines


def test_spread_of_the_mean_of_n(tmp_path, monkeypatch):
    """On N(mu, c^2) a product sample has variance v = c^2 h^2 / (c^2 + h^2) and the shift is v / c^2 (mu - x)."""
    monkeypatch.setattr(problem, "open_set", lambda name: gaussians([MU], C))
    options = {"denoiser": "exact", "sample_steps": 128}
    monkeypatch.setattr(coverage, "LabConfig", lambda *names, **more: LabConfig(*names, **more | options))
    book, v = quiet(tmp_path), C**2 * H**2 / (C**2 + H**2)
    axis = [-1.5 + 3 * k / 7 for k in range(8)]
    shift = v / C**2 * math.sqrt(sum((x - MU[0]) ** 2 + (y - MU[1]) ** 2 for x in axis for y in axis))
    for n in (1, 10):
        expected = math.sqrt(2 * 64 * v / n) / shift
        found = coverage.deviation(book, "gaussian", "exact", n)
        # 64 x 2 x 7 degrees of freedom; 128 steps take up to 3 % of the variance
        assert found["relative_std"] == pytest.approx(expected, rel=0.02 + 5 / math.sqrt(2 * 896))
        assert found["relative_error"] == pytest.approx(expected / math.sqrt(8), rel=0.02 + 5 / math.sqrt(2 * 128))
