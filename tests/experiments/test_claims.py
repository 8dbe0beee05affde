"""What docs/reproduce.md claims of MSD at one stated setting a set, with the ideal denoiser, seed 0."""

from __future__ import annotations

import math

import pytest
import torch

from modeseek.experiments.planar import NARROW, measure, truth
from modeseek.lab.config import PAPER_BANDWIDTH, LabConfig
from modeseek.lab.methods import build_estimator
from modeseek.lab.points import dense_grid, moved
from modeseek.lab.problem import Problem
from modeseek.metrics import efficiency
from modeseek.randomness import Streams


@pytest.mark.parametrize("name", NARROW)
def test_more_precise_than_fresh_samples_on_enough_of_the_modes(name: str) -> None:
    """Precision at least that of as many true samples, recall at least 0.30, NLL below the entropy."""
    config = LabConfig(name, points=16, bandwidth_start=NARROW[name])
    found, fresh = measure(config), truth(config)
    assert found["precision"] >= fresh["precision"]
    assert found["recall"] >= 0.30
    assert found["nll"] < fresh["entropy"]


@pytest.mark.parametrize("name", NARROW)
def test_the_posterior_mean_is_efficient(name: str) -> None:
    """MSD-17 against the mixture's own shift, at the initial bandwidth, on 64 points of a dense grid: at least 8."""
    config = LabConfig(name, points=8)
    problem, x = Problem.of(config), dense_grid(config)
    grad = build_estimator(config, problem)(x, problem.cond, rng=Streams.for_batch(0, 64)).grad
    shift = x - problem.density.posterior_mean(x, PAPER_BANDWIDTH)
    found = efficiency(torch.stack([grad, grad], 1), shift, 1)
    assert found.log_true >= 8
    assert found.log_own == math.inf


def test_an_msd_run_ends_at_modes() -> None:
    """The default run on the fractal: 95 % of the points within two ``bandwidth_end`` of a mode of the mixture."""
    config = LabConfig("fractal")
    problem = Problem.of(config)
    modes = problem.density.modes(config.bandwidth_end).points
    distance = torch.cdist(moved(config, problem), modes, compute_mode="donot_use_mm_for_euclid_dist").amin(1)
    assert float((distance <= 2 * config.bandwidth_end).double().mean()) >= 0.95
