"""A configuration becomes the estimator that it describes."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from small_lab import small

from modeseek.errors import UnstableError, UsageError
from modeseek.estimators import MSD, SDI, SDS, VSD, Particles, Trained
from modeseek.lab.config import Levels
from modeseek.lab.methods import AUXILIARY_LR, build_estimator, grid, table
from modeseek.lab.points import dense_grid, streams
from modeseek.lab.problem import Problem
from modeseek.methods import PRODUCT_SAMPLERS
from modeseek.noise import NoiseTable
from modeseek.schedules import Anneal, Bandwidth, Uniform


def estimator(particles: Any = None, **options: Any) -> Any:
    config = small(**{"denoiser": "exact", **options})
    return build_estimator(config, Problem.of(config), particles)


def test_levels() -> None:
    uniform = table(small(sigma_min=0.5, sigma_max=2.0)).sigmas
    assert (len(uniform), float(uniform[0]), float(uniform[-1])) == (1000, 0.5, 2.0)
    torch.testing.assert_close(uniform.diff(), torch.full((999,), 1.5 / 999, dtype=torch.float64))
    assert torch.equal(table(small(levels="vp")).sigmas, NoiseTable.vp(1000).sigmas)
    karras = table(small(levels="karras", sigma_min=0.5, sigma_max=2.0)).sigmas
    assert (float(karras[0]), float(karras[-1])) == pytest.approx((0.5, 2.0))
    assert float(karras.median()) < float(uniform.median())
    for levels in get_args(Levels):
        assert bool((table(small(levels=levels)).sigmas.diff() > 0).all())


def test_the_samplers_grid() -> None:
    sigmas = grid(small(sample_steps=7, sigma_min=0.1, sigma_max=3.0)).sigmas
    assert len(sigmas) == 8
    assert (float(sigmas[0]), float(sigmas[-2]), float(sigmas[-1])) == pytest.approx((3.0, 0.1, 0.0))


@pytest.mark.parametrize("sampler", [s for s in PRODUCT_SAMPLERS if s != "summed"])
def test_msd(sampler: Any) -> None:
    told = estimator(sampler=sampler, n_samples=3, bandwidth_shape="cosine", sample_steps=20, sigma_max=4.0)
    assert isinstance(told, MSD)
    assert type(told.sampler) is PRODUCT_SAMPLERS[sampler].load()
    assert (told.n_samples, told.denoiser.sigma_max) == (3, 4.0)
    assert told.bandwidth == Bandwidth(small().bandwidth_start, 0.02, 6, "cosine")


def test_what_the_product_sampler_is_told() -> None:
    told = estimator(sampler="gibbs", start="x", kernel_low=0.1, kernel_high=2.0, sweeps=5, max_eps=3.0)
    options = told.sampler.options
    assert (options.start, options.low, options.high, options.sweeps) == ("x", 0.1, 2.0, 5)
    assert options.max_eps == 3.0
    assert options.data_variance == pytest.approx(0.25)  # of the set


def test_the_inversion_is_not_guided() -> None:
    config = small("moons", label=0, guidance="cfg", denoiser="exact", method="sdi")
    problem = Problem.of(config)
    sdi: Any = build_estimator(config, problem)
    assert sdi.inverse is problem.plain
    assert sdi.denoiser is problem.denoiser is not problem.plain


def test_sds() -> None:
    told = estimator(method="sds", time_low=0.1, time_high=0.5, weighting="uniform")
    assert isinstance(told, SDS)
    assert (told.time, told.weighting) == (Uniform(0.1, 0.5), "uniform")


def test_vsd() -> None:
    told = estimator(method="vsd", smoothing=0.2, time_low=0.1, time_high=0.5)
    assert isinstance(told, VSD)
    assert isinstance(told.auxiliary, Particles)
    assert (told.auxiliary.smoothing, told.auxiliary.particles) == (0.2, None)
    assert told.sds.time == Uniform(0.1, 0.5)
    points = torch.zeros(3, 2, dtype=torch.float64)
    assert estimator(points, method="vsd").auxiliary.particles is points


def test_vsd_with_a_network() -> None:
    """Its levels are those of the gradient, its weights are of the seed, and it learns from the points."""
    told, again, other = (
        estimator(method="vsd", auxiliary="trained", seed=seed, time_low=0.1, time_high=0.5) for seed in (2, 2, 3)
    )
    assert isinstance(told.auxiliary, Trained)
    assert (told.auxiliary.first, told.auxiliary.last) == (100, 500)
    assert told.auxiliary.optimiser.param_groups[0]["lr"] == AUXILIARY_LR
    first = told.state_dict()
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in first.items())
    assert any(not torch.equal(v, other.state_dict()[k]) for k, v in first.items())
    assert all(v.dtype == torch.float64 for v in first.values())


def test_sdi() -> None:
    told = estimator(method="sdi", inversion_steps=7, eta=0.1, sigma_start=0.2, max_eps=2.0, time_low=0.25)
    assert isinstance(told, SDI)
    assert (told.inversion_steps, told.eta, told.sigma_start, told.max_eps) == (7, 0.1, 0.2, 2.0)
    assert told.time == Anneal(0.98, 0.25, 6)


@pytest.mark.parametrize("method", ["sds", "vsd", "sdi", "msd"])
def test_every_gradient_leads_to_the_data_from_far(method: Any) -> None:
    """From a million away a gradient is finite and points outwards: descent comes back."""
    config = small(method=method, denoiser="exact", points=2, box=1e6)
    start = dense_grid(config)
    grad = build_estimator(config, Problem.of(config))(start, None, rng=streams(config)).grad
    assert bool(grad.isfinite().all())
    assert float(torch.cosine_similarity(grad, start).min()) > 0.99


# -- refused -----------------------------------------------------------------------------------------------------------


def test_summed_diverges() -> None:
    with pytest.raises(UnstableError, match=r"the summed sampler diverges.*at bandwidth 0\.02"):
        estimator(sampler="summed")
    assert isinstance(estimator(sampler="summed", bandwidth_start=3.0, bandwidth_end=2.0), MSD)


def test_a_bandwidth_that_the_denoiser_does_not_know() -> None:
    with pytest.raises(UsageError, match="bandwidth_start for posterior_mean must be at most the model's sigma_max 5"):
        estimator(bandwidth_start=6.0)
    assert isinstance(estimator(bandwidth_start=6.0, sampler="exact"), MSD)


def test_too_many_inversion_steps() -> None:
    with pytest.raises(UsageError, match="inversion_steps must be between 1 and 1000, got 1001"):
        estimator(method="sdi", inversion_steps=1001)
