"""What the tables of the plane share."""

from __future__ import annotations

import math

import pytest
from tiny_laboratory import SET, config, gaussians

from modeseek.errors import UsageError
from modeseek.experiments import planar, table1, table2
from modeseek.experiments.config import ReproduceConfig
from modeseek.experiments.planar import UNIFORM_5, opened
from modeseek.lab import measure, problem
from modeseek.lab.config import LabConfig
from modeseek.lab.methods import build_estimator
from modeseek.lab.problem import Problem


@pytest.fixture
def few(monkeypatch) -> None:
    monkeypatch.setattr(measure, "REFERENCES", 200)


def test_sets_are_opened_before_anything_is_measured():
    assert opened(ReproduceConfig("table1", sets=("moons", SET))) == ("moons", SET)
    assert opened(ReproduceConfig("table2")) == ("fractal", "spiral", "pinwheel")
    with pytest.raises(UsageError, match=r"got 'fractl'\. Did you mean 'fractal'"):
        opened(ReproduceConfig("table1", sets=("moons", "fractl")))


@pytest.mark.parametrize("method", table1.METHODS + table2.METHODS, ids=lambda m: m.name)
def test_rows_are_configurations(method):
    """Every option is one of LabConfig, and what the name says in numbers is what is configured."""
    c = LabConfig("fractal", **method.options)
    if "sigma uniform in" in method.name:
        sds = build_estimator(c, Problem.of(config(SET, denoiser="exact")))
        used = [sds.levels.at(0)[k] for k in (0, -1)]
        low, high = (float(s) for s in method.name.split("[")[1].strip("]").split(","))
        assert used == pytest.approx([low, high], abs=0.01)
        gaps = sds.table.sigmas.diff()
        assert float(gaps.max() - gaps.min()) < 1e-9
    if method.name.startswith("MSD"):
        assert f"`{c.sampler}`" in method.name
    assert c.method == method.name.split("-")[0].split(",")[0].lower()


def test_headline_rows_have_three_seeds():
    for methods in (table1.METHODS, table2.METHODS):
        assert {m.seeds for m in methods if m.name in ("MSD, `posterior_mean`", "MSD, `exact`")} == {3}
        assert any(m.seeds == 3 and m.paper == "SDS" for m in methods)


def test_the_widest_levels():
    c = LabConfig("fractal", **UNIFORM_5)
    assert (c.time_low * c.sigma_max, c.time_high * c.sigma_max, c.levels) == (0, 5, "uniform")


def test_measure_runs_the_configuration(few):
    """MSD moves points to the modes of eight Gaussians; fewer steps leave them elsewhere."""
    far = planar.measure(LabConfig(SET, denoiser="exact", points=5, steps=1))
    near = planar.measure(LabConfig(SET, denoiser="exact", points=5, steps=150))
    assert set(near) >= {*table2.MEASURED, "modes", "points"}
    assert (near["points"], near["modes"], near["at_modes"]) == (25, 8, 1)
    assert far["at_modes"] < 0.5
    assert near["nll"] < far["nll"]
    assert near == planar.measure(LabConfig(SET, denoiser="exact", points=5, steps=150))


def test_true_samples(monkeypatch):
    """As many as there are points, and not the reference: against itself precision and recall are 1, MMD below 0."""
    monkeypatch.setattr(problem, "open_set", lambda name: gaussians([[0.4, -0.3]], 0.5))
    monkeypatch.setattr(measure, "REFERENCES", 2000)
    found = planar.truth(LabConfig("g", denoiser="exact", points=20))
    entropy = math.log(2 * math.pi * math.e * 0.5**2)
    assert found["points"] == 400
    assert abs(found["entropy"] - entropy) < 5 / math.sqrt(2000)  # -log p has variance D / 2 = 1
    assert abs(found["nll"] - entropy) < 5 / math.sqrt(400)
    assert 0.85 < found["precision"] < 1
    assert 0.85 < found["recall"] < 1
    assert abs(found["mmd"]) < 0.01
