import pytest
import torch
from closed_forms import POINTS, Rows, gaussian, mixture, t64

from modeseek.denoisers import MixtureDenoiser
from modeseek.densities import GaussianMixture
from modeseek.guidance import Autoguidance

GOOD = MixtureDenoiser(mixture(), torch.tensor([0, 1, 0]))
BAD = MixtureDenoiser(
    GaussianMixture(mixture().means, 2 * mixture().covariances, mixture().log_weights.exp()), torch.tensor([0, 1, 0])
)
Z, COND = t64(POINTS), torch.tensor([0, 1, 0, 1, 1])


@pytest.mark.parametrize("scale", [-1.0, 0.0, 0.5, 3.0])
@pytest.mark.parametrize("sigma", [0.4, t64([0.1, 0.2, 0.5, 1.0, 5.0])])
def test_formula(scale, sigma):
    """CFG-3: both see the condition."""
    expected = (1 - scale) * BAD(Z, sigma, COND) + scale * GOOD(Z, sigma, COND)
    torch.testing.assert_close(Autoguidance(GOOD, BAD, scale)(Z, sigma, COND), expected, rtol=0, atol=1e-12)


def test_of_two_gaussians():
    """CFG-3: scores of N(mu, C) and N(mu, 2 C) mix to that of a Gaussian of precision g P_good + (1 - g) P_bad."""
    good, sigma, scale = gaussian(), 0.3, 3.0
    bad = GaussianMixture(good.means, 2 * good.covariances)
    eye = sigma**2 * torch.eye(2, dtype=torch.float64)
    precisions = [torch.linalg.inv(c.covariances[0] + eye) for c in (good, bad)]
    precision = scale * precisions[0] + (1 - scale) * precisions[1]
    expected = Z - sigma**2 * (Z - good.means) @ precision
    guided = Autoguidance(MixtureDenoiser(good), MixtureDenoiser(bad), scale)(Z, sigma)
    torch.testing.assert_close(guided, expected, rtol=0, atol=1e-12)


def test_scale_one_is_the_good_model_at_its_cost():
    """CFG-3."""
    good, bad = Rows(GOOD, 0.1, 3.0), Rows(BAD, 0.2, 2.0)
    guided = Autoguidance(good, bad, 1.0)
    assert torch.equal(guided(Z, 0.4, COND), GOOD(Z, 0.4, COND))
    assert (good.rows, bad.rows, guided.cost(0.4)) == (len(Z), 0, 1)
    assert (guided.sigma_min, guided.sigma_max) == (0.1, 3.0)


def test_costs_both():
    """CFG-3."""
    good, bad = Rows(GOOD, 0.1, 3.0), Rows(BAD, 0.2, 2.0)
    guided = Autoguidance(good, bad, 2.0)
    guided(Z, 0.4)
    assert (good.rows, bad.rows, guided.cost(0.4)) == (len(Z), len(Z), 2)
    assert (guided.sigma_min, guided.sigma_max) == (0.2, 2.0)
