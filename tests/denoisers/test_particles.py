import numpy as np
import pytest
import torch
from closed_forms import MEANS, POINTS, t64

from modeseek.denoisers import MixtureDenoiser, ParticleScore
from modeseek.densities import GaussianMixture
from modeseek.errors import UsageError


@pytest.mark.parametrize("smoothing", [0.0, 0.05, 0.7])
@pytest.mark.parametrize("sigma", [0.02, 0.5, t64([0.1, 0.2, 0.5, 1.0, 5.0])])
def test_is_exact_for_the_kernel_density(smoothing, sigma):
    """KDE-1: with the closed form of an isotropic mixture (MIX-2)."""
    z, particles = t64(POINTS), t64(MEANS)
    density = MixtureDenoiser(GaussianMixture.isotropic(particles, smoothing))
    torch.testing.assert_close(ParticleScore(particles, smoothing)(z, sigma), density(z, sigma), rtol=0, atol=1e-12)


@pytest.mark.parametrize("sigma", [0.002, 0.3, 50.0])
def test_one_particle_gives_back_the_noise(sigma):
    """KDE-1: eps_hat is the drawn eps, so that VSD with this score is SDS."""
    x = t64([[0.37, -1.2]])
    eps = torch.randn(6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z = x + sigma * eps
    x0 = ParticleScore(x)(z, sigma)
    assert torch.equal(x0, x.expand(6, 2))
    torch.testing.assert_close((z - x0) / sigma, eps, rtol=1e-12, atol=1e-12)


def test_particles_are_held():
    """KDE-1: parameters may be handed over; no gradient flows through the score."""
    x = t64(MEANS).requires_grad_()
    assert not ParticleScore(x, 0.1)(t64(POINTS), 0.3).requires_grad


def test_events_of_any_shape_and_type():
    g = torch.Generator().manual_seed(0)
    x, z = torch.randn(4, 3, 2, 2, generator=g), torch.randn(5, 3, 2, 2, generator=g)
    x0 = ParticleScore(x, 0.2)(z, 0.5)
    flat = ParticleScore(x.flatten(1).double(), 0.2)(z.flatten(1).double(), 0.5)
    assert x0.dtype == torch.float32
    torch.testing.assert_close(x0, flat.reshape(z.shape).float())


def test_is_a_denoiser():
    score = ParticleScore(t64(MEANS))
    assert (score.sigma_min, score.sigma_max, score.cost(1.0)) == (0.0, float("inf"), 1)


def test_refuses():
    with pytest.raises(UsageError, match="smoothing must not be negative"):
        ParticleScore(t64(MEANS), -0.1)
    with pytest.raises(UsageError, match="points must be finite"):
        ParticleScore(t64([[np.nan, 0.0]]))
    with pytest.raises(UsageError, match="cond must be None"):
        ParticleScore(t64(MEANS))(t64(POINTS), 0.1, torch.zeros(5))
    with pytest.raises(UsageError, match="sigma must be positive"):
        ParticleScore(t64(MEANS))(t64(POINTS), 0.0)
