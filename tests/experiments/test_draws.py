"""Repeated draws: independent, the same in any company, with the moments of a closed form."""

from __future__ import annotations

import math

import pytest
import torch
from closed_forms import MU, POINTS, mixture, t64

from modeseek.denoisers import MixtureDenoiser
from modeseek.densities import GaussianMixture
from modeseek.estimators import MSD, SDS, VSD, Estimator, Particles
from modeseek.estimators.base import Estimate
from modeseek.experiments import draws
from modeseek.experiments.draws import draw, gradients
from modeseek.lab.config import LabConfig
from modeseek.noise import NoiseTable, karras_sigmas
from modeseek.samplers.product import Exact, Grid

TABLE = NoiseTable(torch.linspace(0.1, 2.0, 20, dtype=torch.float64))
X = t64(POINTS)


def estimators() -> dict[str, Estimator]:
    model = MixtureDenoiser(mixture())
    sampler = Exact(Grid(karras_sigmas(6, 0.002, 5.0)))
    return {
        "sds": SDS(model, TABLE),
        "msd": MSD(model, sampler, 0.3),
        "msd, 3 samples": MSD(model, sampler, 0.3, n_samples=3),
    }


@pytest.fixture(params=["sds", "msd", "msd, 3 samples"])
def estimator(request) -> Estimator:
    return estimators()[request.param]


def test_a_point_in_other_company_or_in_other_calls(estimator, monkeypatch):
    found = draw(estimator, X, None, 9, 3)
    assert found.shape == (5, 9, 2)
    torch.testing.assert_close(draw(estimator, X[:2], None, 9, 3), found[:2], rtol=0, atol=1e-11)
    torch.testing.assert_close(draw(estimator, X, None, 4, 3), found[:, :4], rtol=0, atol=1e-11)
    for rows in (1, 12):
        monkeypatch.setattr(draws, "ROWS", rows)
        torch.testing.assert_close(draw(estimator, X, None, 9, 3), found, rtol=0, atol=1e-11)


def test_no_draw_is_another(estimator):
    """Not at another number, not at another place, not under another seed."""
    same = X[:1].repeat(5, 1)
    both = torch.stack([draw(estimator, same, None, 9, seed) for seed in (0, 1)])
    rows = both.reshape(-1, 2)
    assert float((torch.cdist(rows, rows) + torch.eye(len(rows))).min()) > 1e-9
    assert torch.equal(draw(estimator, same, None, 9, 1), both[1])


def test_without_noise_the_same_draw_twice():
    """Also where the last bits of a row depend on its place in the batch."""

    def places(x, cond=None, *, rng, step=0):
        return Estimate(x, x + 1e-16 * torch.arange(len(x))[:, None], 1, {})

    config = LabConfig("moons")
    assert torch.equal(gradients(config, places, 0 * X, None, 7), draw(places, 0 * X, None, 1, 0).expand(5, 2, 2))
    found = gradients(LabConfig("moons", sampler="exact", seed=3), estimators()["msd"], X, None, 7)
    assert torch.equal(found, draw(estimators()["msd"], X, None, 7, 3))


class Recorder:
    """Says where it was asked and with what randomness."""

    def __init__(self):
        self.calls = []

    def nfe(self, step):
        return 1

    def __call__(self, x, cond=None, *, rng, step=0):
        self.calls.append((x, rng, step, cond))
        ids = torch.tensor(rng.samples, dtype=torch.float64)
        return Estimate(x, x - ids, 1, {})


def test_every_point_equally_often_and_each_with_its_own_numbers(monkeypatch):
    monkeypatch.setattr(draws, "ROWS", 12)  # two draws of five points in a call
    recorder, cond = Recorder(), torch.tensor([0])
    found = draw(recorder, X, cond, 5, 7)
    assert [len(x) for x, *_ in recorder.calls] == [10, 10, 5]
    for x, rng, step, given in recorder.calls:
        assert torch.equal(x, X.repeat(len(x) // 5, 1))
        assert (set(rng.seeds), step, given) == ({7}, 1, cond)
    seen = [i for _, rng, *_ in recorder.calls for i in rng.samples]
    assert sorted(seen) == [(p, k) for p in range(5) for k in range(5)]
    p, k = torch.meshgrid(torch.arange(5.0), torch.arange(5.0), indexing="ij")
    torch.testing.assert_close(found, torch.stack([p, k], -1).double(), rtol=0, atol=1e-12)  # [p, k] is draw k at p


@pytest.mark.parametrize("n", [4, 5])
def test_the_particles_of_vsd_are_the_points(monkeypatch, n):
    monkeypatch.setattr(draws, "ROWS", 12)
    model = MixtureDenoiser(mixture())
    found = draw(VSD(model, TABLE, Particles()), X, None, n, 0)
    told = draw(VSD(model, TABLE, Particles(0.0, X)), X, None, n, 0)
    torch.testing.assert_close(found, told, rtol=0, atol=1e-10)


@pytest.mark.parametrize("weighting", ["sigma2", "uniform"])
def test_moments_of_sds_on_a_gaussian(weighting):
    """SDS-1: with D = (c^2 z + s^2 mu) / (c^2 + s^2) one draw is w (s (x - mu) - c^2 eps) / (c^2 + s^2)."""
    c, n = 0.5, 4000
    density = GaussianMixture(t64(MU)[None], c**2 * torch.eye(2, dtype=torch.float64)[None])
    estimator = SDS(MixtureDenoiser(density), TABLE, time_range=(0.3, 0.3), weighting=weighting)
    (s,) = {float(v) for v in estimator.levels(torch.Generator().manual_seed(0), 8)}
    w = s**2 / (1 + s**2) if weighting == "sigma2" else 1.0
    mean, std = w * s * (X - t64(MU)) / (c**2 + s**2), w * c**2 / (c**2 + s**2)
    found = draw(estimator, X, None, n, 0)
    assert float((found.mean(1) - mean).abs().max()) < 5 * std / math.sqrt(n)
    assert float((found.std(1) / std - 1).abs().max()) < 5 / math.sqrt(2 * n)
