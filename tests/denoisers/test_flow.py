"""A flow network as a denoiser. Equations SIGMA-4, FLOW-1, DDIM-1."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from modeseek.denoisers.flow import FlowDenoiser, PureNoise
from modeseek.errors import UsageError
from modeseek.guidance import CFG
from modeseek.noise import NoiseTable
from modeseek.samplers.ddim import ddim_step

TAU = torch.arange(1, 1000, dtype=torch.float64) / 1000
TABLE = NoiseTable(TAU / (1 - TAU))


class Gaussian(nn.Module):
    """The exact flow network of data N(mean, std^2): ``v = E[eps - x | z_f]``; cond is the mean."""

    dtype = torch.float64
    std = 0.7

    def forward(self, z: Tensor, tau: Tensor, mean: Tensor) -> Tensor:
        tau = tau.double().reshape(-1, 1)
        scale, noise = 1 - tau, tau
        variance = (scale * self.std) ** 2 + noise**2
        off = (z - scale * mean) / variance
        return noise * off - (mean + scale * self.std**2 * off)


def ask(network: Any, z: Tensor, tau: Tensor, cond: Any) -> Tensor:
    return network(z, tau, cond)


@pytest.fixture
def denoiser() -> FlowDenoiser:
    return FlowDenoiser(Gaussian(), TABLE, ask)


def test_the_posterior_mean_of_a_gaussian(denoiser: FlowDenoiser) -> None:
    z, mean = torch.tensor([[2.0], [0.3], [-5.0]], dtype=torch.float64), torch.tensor([[0.4]], dtype=torch.float64)
    sigma = torch.tensor([0.01, 1.0, 9.0], dtype=torch.float64)
    weight = 0.7**2 / (0.7**2 + sigma.reshape(-1, 1) ** 2)
    # tau travels in float32, as networks take their time
    torch.testing.assert_close(denoiser(z, sigma, mean), mean + weight * (z - mean), rtol=1e-6, atol=1e-6)
    alone = torch.cat([denoiser(z[i : i + 1], float(sigma[i]), mean) for i in range(3)])
    torch.testing.assert_close(denoiser(z, sigma, mean), alone, rtol=0, atol=0)


def test_eulers_step_of_a_flow_is_the_step_of_ddim(denoiser: FlowDenoiser) -> None:
    native, mean = torch.tensor([[1.3]], dtype=torch.float64), torch.tensor([[0.4]], dtype=torch.float64)
    tau, below = 0.8, 0.35
    v = denoiser.network(native, torch.tensor([tau]), mean)
    euler = native + (below - tau) * v
    z = native / (1 - tau)
    stepped = ddim_step(z, denoiser(z, tau / (1 - tau), mean), tau / (1 - tau), below / (1 - below))
    torch.testing.assert_close((1 - below) * stepped, euler, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("below", [0.999, 0.5, 0.0])
def test_the_step_from_pure_noise(denoiser: FlowDenoiser, below: float) -> None:
    """FLOW-1: ``z = D + sigma' eps`` is Euler's step from tau = 1."""
    eps, mean = torch.tensor([[1.3], [-0.2]], dtype=torch.float64), torch.tensor([[0.4]], dtype=torch.float64)
    euler = eps + (below - 1) * denoiser.network(eps, torch.ones(2), mean)
    z = PureNoise(denoiser)(eps, float("inf"), mean) + below / (1 - below) * eps
    torch.testing.assert_close((1 - below) * z, euler, rtol=1e-12, atol=1e-12)


def test_guidance_of_pure_noise(denoiser: FlowDenoiser) -> None:
    eps, ones = torch.tensor([[1.3]], dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    pure = PureNoise(denoiser)
    guided = CFG(pure, 3.0, 0.2 * ones)(eps, float("inf"), 0.9 * ones)
    # pure noise says nothing of the data: D is their mean
    torch.testing.assert_close(guided, (0.2 + 3 * 0.7) * ones, rtol=1e-12, atol=1e-12)
    assert pure.cost(float("inf")) == denoiser.cost(1.0) == 1


def test_levels_outside_the_table(denoiser: FlowDenoiser) -> None:
    z, mean = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    assert (denoiser.sigma_min, denoiser.sigma_max) == (TABLE.sigma_min, TABLE.sigma_max)
    torch.testing.assert_close(denoiser(z, 0.0, mean), denoiser(z, TABLE.sigma_min, mean), rtol=0, atol=0)
    with pytest.raises(UsageError, match="sigma_max 999"):
        denoiser(z, 1001.0, mean)
