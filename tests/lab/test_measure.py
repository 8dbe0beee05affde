"""The numbers of points whose place is known."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_lab import make_small, small
from torch import Tensor

from modeseek.densities import GaussianMixture, PlanarSet
from modeseek.errors import UsageError
from modeseek.lab import measure
from modeseek.lab.measure import Truth
from modeseek.lab.problem import Problem


@pytest.fixture(autouse=True)
def networks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    make_small(monkeypatch, tmp_path / "cache")
    monkeypatch.setattr(measure, "_MODES", {})


def truth(name: str = "eight_gaussians") -> Truth:
    config = small(name, denoiser="exact", bandwidth_end=0.03)
    return Truth.of(config, Problem.of(config))


def test_points_at_the_modes() -> None:
    """MODE-1, NLL-1."""
    t = truth()
    numbers = t.measure(t.modes)
    assert (numbers["at_modes"], numbers["modes_found"], numbers["distance"]) == (1, 1, 0)
    assert (numbers["modes"], numbers["points"]) == (8, 8)
    assert numbers["precision"] == 1
    assert numbers["nll"] == pytest.approx(-float(t.problem.density.log_prob(t.modes).mean()))
    # exactly 1 / 8 in N(0, s^2) at its mean, the others far away: ln(8 2 pi s^2)
    variance = float(t.problem.density.covariances[0, 0, 0])
    assert numbers["nll"] == pytest.approx(float(torch.tensor(8 * 2 * torch.pi * variance).log()), abs=1e-4)


def test_points_beside_the_modes() -> None:
    """MODE-1: two bandwidths count, more do not; the modes are those of the density smoothed by the kernel."""
    t = truth()
    outwards = t.modes / t.modes.norm(dim=1, keepdim=True)
    near, far = t.measure(t.modes + 0.059 * outwards), t.measure(t.modes + 0.061 * outwards)
    assert (near["at_modes"], near["modes_found"], near["distance"]) == (1, 1, pytest.approx(0.059))
    assert (far["at_modes"], far["modes_found"], far["distance"]) == (0, 0, pytest.approx(0.061))
    assert float(t.problem.density.score(t.modes, 0.03).abs().max()) < 1e-6


def test_points_at_one_mode_and_far_away() -> None:
    """MODE-1, PR-1, MMD-1."""
    t = truth()
    offsets = torch.tensor([[0.0, 0.0], [0.001, 0.0], [0.0, 0.001], [0.001, 0.001]], dtype=torch.float64)
    one = t.measure(t.modes[0] + offsets)
    assert (one["at_modes"], one["modes_found"], one["precision"], one["recall"]) == (1, 0.125, 1, 0)
    far = t.measure(100 + offsets)
    assert (far["at_modes"], far["modes_found"], far["precision"], far["recall"]) == (0, 0, 0, 0)
    assert far["nll"] > 1e4
    assert far["mmd"] > one["mmd"] > 0.1
    fresh = t.measure(t.problem.sample(300, 9))
    assert fresh["mmd"] < 0.02
    assert min(fresh["precision"], fresh["recall"]) > 0.9


def test_the_reference_is_drawn_by_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = truth().problem
    samples = [Truth(problem, seed, 0.03).samples for seed in (0, 0, 1)]
    assert samples[0].shape == (300, 2)
    assert torch.equal(samples[0], samples[1])
    assert not torch.equal(samples[0], samples[2])
    monkeypatch.undo()
    assert measure.REFERENCES == 10_000


def test_modes_are_sought_once_for_a_density_and_a_bandwidth(monkeypatch: pytest.MonkeyPatch) -> None:
    sought = []
    real = GaussianMixture.modes

    def counted(self: GaussianMixture, sigma: float = 0.0) -> object:
        sought.append(sigma)
        return real(self, sigma)

    monkeypatch.setattr(GaussianMixture, "modes", counted)
    assert truth().modes is truth().modes
    assert sought == [0.03]
    problem = truth().problem
    assert len(Truth(problem, 0, 0.2).modes) == 8
    assert len(Truth(problem, 0, 2.0).modes) == 1
    means: Tensor = problem.density.means
    other = GaussianMixture(means + 1, problem.density.covariances)
    moved = Problem(PlanarSet("other", other), other, problem.plain, problem.denoiser, None)
    torch.testing.assert_close(Truth(moved, 0, 0.03).modes.mean(0), torch.ones(2, dtype=torch.float64))
    assert sought == [0.03, 0.2, 2.0, 0.03]


def test_too_few_points() -> None:
    t = truth()
    with pytest.raises(UsageError, match="below the number of points, 3 fake"):
        t.measure(t.modes[:3])
