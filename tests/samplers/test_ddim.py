import math

import numpy as np
import pytest
import torch
from closed_forms import COVARIANCES, MEANS, MU, POINTS, WEIGHTS, C, Rows, assert_moments, gaussian, mixture, order, t64
from scipy import linalg

from modeseek.denoisers import MixtureDenoiser
from modeseek.errors import UsageError
from modeseek.noise import NoiseTable, karras_sigmas
from modeseek.randomness import Streams
from modeseek.samplers import ddim, ddim_step
from modeseek.samplers.ddim import ancestral_levels

GAUSSIAN = MixtureDenoiser(gaussian())
STEPS = (32, 64, 128, 256)


def flow_of_a_gaussian(z: np.ndarray, high: float, low: float) -> np.ndarray:
    """Solution of the probability-flow ODE on N(MU, C): distances from MU shrink as the spread of the noised data."""
    spread = [linalg.sqrtm(C + s**2 * np.eye(2)).real for s in (high, low)]
    return MU + (z - MU) @ np.linalg.inv(spread[0]) @ spread[1]


def test_step_is_eulers():
    """DDIM-1: z + (sigma' - sigma) eps_hat, which is x0 + sigma' eps_hat."""
    z, x0 = t64(POINTS), t64(POINTS[::-1].copy())
    eps_hat = (z - x0) / 0.8
    torch.testing.assert_close(ddim_step(z, x0, 0.8, 0.3), z + (0.3 - 0.8) * eps_hat)
    torch.testing.assert_close(ddim_step(z, x0, 0.8, 0.3), x0 + 0.3 * eps_hat)
    torch.testing.assert_close(ddim_step(z, x0, 0.8, 0.0), x0)


@pytest.mark.parametrize("end", [0.0, 0.1])
def test_first_order_on_a_gaussian(end):
    """DDIM-1: against the closed solution; the error falls with the number of steps."""
    z = 5.0 * t64(POINTS)
    expected = flow_of_a_gaussian(z.numpy(), 5.0, end)
    grids = [torch.cat([karras_sigmas(n, max(end, 0.002), 5.0)[: -1 if end else None]]) for n in STEPS]
    errors = [float((ddim(GAUSSIAN, z, g) - t64(expected)).norm()) for g in grids]
    assert 0.8 <= order(errors, STEPS) <= 1.3, errors
    assert errors[-1] < 0.02


def test_one_evaluation_a_step():
    rows = Rows(GAUSSIAN)
    ddim(rows, t64(POINTS), karras_sigmas(7))
    assert rows.rows / len(POINTS) == 7


@pytest.mark.parametrize("t", [1, 20, 500, 999])
def test_ancestral_noise_is_ddpms_posterior(t):
    """DDIM-2: mean and variance of q(x_{t-1} | x_t, x_0), eqs. 6 and 7 of Ho et al. 2020, in their coordinates."""
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    alphas = 1 - betas
    abar = np.cumprod(alphas)
    variance = (1 - abar[t - 1]) / (1 - abar[t]) * betas[t]
    weight_x0 = math.sqrt(abar[t - 1]) * betas[t] / (1 - abar[t])
    weight_xt = math.sqrt(alphas[t]) * (1 - abar[t - 1]) / (1 - abar[t])

    sigmas = NoiseTable.vp().sigmas
    sigma, sigma_next = float(sigmas[t]), float(sigmas[t - 1])
    down, up = ancestral_levels(sigma, sigma_next, 1.0)
    assert (math.sqrt(abar[t - 1]) * up) ** 2 == pytest.approx(variance, rel=1e-8)
    x0, z = t64([[0.3, -1.0]]), t64([[2.0, 0.7]])
    ours = math.sqrt(abar[t - 1]) * ddim_step(z, x0, sigma, down)
    torch.testing.assert_close(ours, weight_x0 * x0 + weight_xt * math.sqrt(abar[t]) * z, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_ancestral_levels_add_up(eta):
    """DDIM-2: what is kept and what is new make the next level; eta scales DDPM's share, as in Song et al. 2021."""
    down, up = ancestral_levels(2.0, 0.5, eta)
    assert math.hypot(down, up) == pytest.approx(0.5)
    assert up == pytest.approx(eta * 0.5 * math.sqrt(1 - (0.5 / 2.0) ** 2))
    assert ancestral_levels(2.0, 0.0, eta) == (0.0, 0.0)


def test_one_ancestral_step_draws_that_noise():
    """DDIM-2: the drawn step is the deterministic part plus up times the streams' numbers."""
    z, sigmas = t64(POINTS), t64([2.0, 0.5])
    down, up = ancestral_levels(2.0, 0.5, 0.7)
    drawn = Streams.for_batch(0, 5).normal((5, 2)).double()
    expected = ddim_step(z, GAUSSIAN(z, 2.0), 2.0, down) + up * drawn
    stepped = ddim(GAUSSIAN, z, sigmas, eta=0.7, rng=Streams.for_batch(0, 5))
    torch.testing.assert_close(stepped, expected, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_samples_have_the_gaussians_moments(eta):
    """DDIM-1, DDIM-2: mean and covariance within 5 standard errors of 10 000 samples."""
    rng, n = torch.Generator().manual_seed(0), 10_000
    sigmas = karras_sigmas(600, 0.002, 20.0)
    z = gaussian().sample(n, rng, sigma=20.0)
    assert_moments(ddim(GAUSSIAN, z, sigmas, eta=eta, rng=rng), MU, C)


def test_ancestral_samples_have_the_mixtures_moments():
    """DDIM-2: mean and covariance within 5 standard errors, from pure noise."""
    rng = torch.Generator().manual_seed(1)
    z = 20.0 * torch.randn(10_000, 2, generator=rng, dtype=torch.float64)
    y = ddim(MixtureDenoiser(mixture()), z, karras_sigmas(600, 0.002, 20.0), eta=1.0, rng=rng)
    mean = WEIGHTS @ MEANS
    centred = MEANS - mean
    assert_moments(y, mean, np.einsum("k,kde->de", WEIGHTS, COVARIANCES + centred[:, :, None] * centred[:, None]))


@pytest.mark.parametrize(("eta", "rng"), [(-0.1, torch.Generator()), (1.1, torch.Generator()), (0.5, None)])
def test_refuses_eta(eta, rng):
    with pytest.raises(UsageError, match="eta must be in"):
        ddim(GAUSSIAN, t64(POINTS), karras_sigmas(4), eta=eta, rng=rng)


def test_refuses_a_rising_grid():
    with pytest.raises(UsageError, match="falling"):
        ddim(GAUSSIAN, t64(POINTS), karras_sigmas(4).flip(0))
