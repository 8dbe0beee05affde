import pytest
import torch
from closed_forms import COVARIANCES, MEANS, POINTS, WEIGHTS, log_density_gradient, mixture, t64

from modeseek.denoisers import MixtureDenoiser
from modeseek.errors import UsageError

CLASSES = torch.tensor([0, 1, 0])


def test_is_the_posterior_mean():
    """MIX-2: Tweedie's formula with a log density by torch.distributions."""
    z, sigma = t64(POINTS), t64([0.1, 0.2, 0.5, 1.0, 5.0])
    x0 = MixtureDenoiser(mixture())(z, sigma)
    expected = torch.stack([z[i] + s**2 * log_density_gradient(z, float(s))[i] for i, s in enumerate(sigma)])
    torch.testing.assert_close(x0, expected, rtol=0, atol=1e-10)


def test_a_condition_selects_components():
    """MIX-2: row by row, the posterior mean under the components of a class."""
    z, cond = t64(POINTS), torch.tensor([0, 1, 0, 1, 1])
    x0 = MixtureDenoiser(mixture(), CLASSES)(z, 0.5, cond)
    for k in (0, 1):
        own = torch.eq(CLASSES, k).numpy()
        density = {"means": MEANS[own], "covariances": COVARIANCES[own], "weights": WEIGHTS[own]}
        expected = z + 0.5**2 * log_density_gradient(z, 0.5, **density)
        torch.testing.assert_close(x0[cond == k], expected[cond == k], rtol=0, atol=1e-10)


def test_one_row_of_condition_serves_all():
    denoiser = MixtureDenoiser(mixture(), CLASSES)
    z = t64(POINTS)
    one, many = denoiser(z, 0.5, torch.tensor([1])), denoiser(z, 0.5, torch.ones(5, dtype=torch.long))
    torch.testing.assert_close(one, many, rtol=0, atol=0)


def test_conditions_that_do_not_fit_are_refused():
    z = t64(POINTS)
    with pytest.raises(UsageError, match="cond must be None"):
        MixtureDenoiser(mixture())(z, 0.5, torch.tensor([0]))
    with pytest.raises(UsageError, match="1 or 5 rows, got 2"):
        MixtureDenoiser(mixture(), CLASSES)(z, 0.5, torch.tensor([0, 1]))


def test_limits():
    denoiser = MixtureDenoiser(mixture(), sigma_max=7.0)
    assert (denoiser.sigma_min, denoiser.sigma_max, denoiser.cost(1.0)) == (0.0, 7.0, 1)
