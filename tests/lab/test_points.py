"""Where points start and where the methods leave them, against what the density itself says."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from small_lab import make_small, small

from modeseek.lab.points import dense_grid, moved, sampled, streams
from modeseek.lab.problem import Problem


@pytest.fixture(autouse=True)
def networks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    make_small(monkeypatch, tmp_path / "cache")


def test_the_dense_grid() -> None:
    x = dense_grid(small(points=3, box=2.0))
    expected = [[a, b] for a in (-2, 0, 2) for b in (-2, 0, 2)]
    assert (x.tolist(), x.dtype) == (expected, torch.float64)
    assert len(streams(small(points=3))) == 9


def test_msd_ends_at_the_modes_that_the_density_has() -> None:
    """MODE-1: the exact mean shift, the paper's steps: every point within two bandwidths of a mode of p_h."""
    config = small(denoiser="exact", steps=150, points=6)
    problem = Problem.of(config)
    modes = problem.density.modes(config.bandwidth_end).points
    assert len(modes) == 8
    assert float(problem.density.score(modes, config.bandwidth_end).abs().max()) < 1e-6
    away = (moved(config, problem)[:, None] - modes).norm(dim=-1)
    assert float(away.amin(1).max()) < 2 * config.bandwidth_end
    assert len(away.argmin(1).unique()) == 8  # and the start is dense enough to find all of them


@pytest.mark.parametrize(("name", "label"), [("eight_gaussians", None), ("moons", 1)])
def test_ddim_samples_have_the_moments_of_the_density(name: str, label: int | None) -> None:
    """DDIM-1: first and second moments within five of their own standard errors."""
    config = small(name, label=label, method="ddim", denoiser="exact", points=40, sample_steps=40)
    problem = Problem.of(config)
    x, density = moved(config, problem), problem.density
    assert x.shape == (1600, 2)
    w, mu, c = density.log_weights.exp(), density.means, density.covariances
    mean = w @ mu
    second = torch.einsum("k,kd,ke->de", w, mu, mu) + torch.einsum("k,kde->de", w, c)
    products = torch.einsum("nd,ne->nde", x, x)
    assert bool(((x.mean(0) - mean).abs() < 5 * x.std(0) / 40).all())
    assert bool(((products.mean(0) - second).abs() < 5 * products.std(0) / 40).all())


def test_ddim_samples_lie_in_the_modes_equally_often() -> None:
    config = small(method="ddim", denoiser="exact", points=40, sample_steps=40)
    problem = Problem.of(config)
    nearest = (moved(config, problem)[:, None] - problem.density.means).norm(dim=-1).argmin(1)
    counts = nearest.bincount(minlength=8)
    assert bool(((counts - 200).abs() < 5 * math.sqrt(1600 * 7 / 64)).all())


@pytest.mark.parametrize("method", ["ddim", "sds", "vsd", "sdi", "msd"])
def test_a_seed_decides(method: Any) -> None:
    def end(seed: int) -> torch.Tensor:
        config = small(method=method, sampler="exact", seed=seed, denoiser="exact")
        return moved(config, Problem.of(config))

    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = end(0)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, end(0))
    assert bool((first != end(1)).all(1).all())


def test_what_moves_the_points() -> None:
    """One step of Adam is the learning rate along each axis, down the gradient: towards the data."""
    config = small(steps=1, lr=0.05, denoiser="exact")
    step = moved(config, Problem.of(config)) - dense_grid(config)
    torch.testing.assert_close(step.abs(), torch.full((16, 2), 0.05, dtype=torch.float64), rtol=1e-4, atol=0)
    outer = dense_grid(config).abs().amin(1) > 1.4
    assert bool((step * dense_grid(config) < 0)[outer].all())


def test_samples_are_as_many_as_points() -> None:
    config = small(method="ddim", points=3)
    assert sampled(config, Problem.of(config)).shape == (9, 2)
    assert not sampled(config, Problem.of(config)).requires_grad
