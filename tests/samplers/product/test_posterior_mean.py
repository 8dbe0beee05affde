import numpy as np
import pytest
import torch
from closed_forms import (
    MU,
    POINTS,
    C,
    gaussian,
    gaussian_pdf,
    gaussian_product,
    log_density_gradient,
    mixture,
    mixture_pdf,
    product_moments,
    t64,
)

from modeseek.denoisers import MixtureDenoiser
from modeseek.errors import UsageError
from modeseek.samplers.product import PosteriorMean

GAUSSIAN = {"means": MU[None], "covariances": C[None], "weights": np.ones(1)}
CASES = [(gaussian(), GAUSSIAN, gaussian_pdf), (mixture(), {}, mixture_pdf)]


@pytest.mark.parametrize("h", [0.05, 0.2, 0.5, 1.0, 4.0])
@pytest.mark.parametrize(("density", "parameters", "pdf"), CASES)
def test_is_the_mean_shift(density, parameters, pdf, h):
    """MSD-6: y - x = h^2 grad log p_h(x), log p_h by torch.distributions and its gradient by autograd."""
    x = t64(POINTS)
    y = PosteriorMean()(MixtureDenoiser(density), x, h, rng=torch.Generator())
    torch.testing.assert_close(y - x, h**2 * log_density_gradient(x, h, **parameters), rtol=0, atol=1e-10)


@pytest.mark.parametrize("h", [0.05, 0.2, 0.5, 1.0])
@pytest.mark.parametrize(("density", "parameters", "pdf"), CASES)
def test_is_the_mean_of_the_product_density(density, parameters, pdf, h):
    """MSD-6, MSD-11: y = E[y ~ p(y) N(y; x, h^2) / Z], summed over a dense grid."""
    x = t64(POINTS)
    y = PosteriorMean()(MixtureDenoiser(density), x, h, rng=torch.Generator())
    expected = np.stack([product_moments(pdf, row, h)[0] for row in POINTS])
    np.testing.assert_allclose(y.numpy(), expected, rtol=0, atol=1e-10)


def test_grid_and_precisions_agree():
    """MSD-6: the two truths of these tests on a Gaussian, mean and covariance."""
    for h in (0.2, 1.0):
        for summed, added in zip(product_moments(gaussian_pdf, POINTS[1], h), gaussian_product(POINTS[1], h)):
            np.testing.assert_allclose(summed, added, rtol=0, atol=1e-10)


def test_draws_nothing():
    """MSD-6."""
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    PosteriorMean()(MixtureDenoiser(mixture()), t64(POINTS), 0.5, rng=generator)
    assert torch.equal(before, generator.get_state())


def test_refuses_a_bandwidth_above_the_models_largest_level():
    with pytest.raises(UsageError, match="bandwidth of posterior_mean must be at most the model's sigma_max 2, got 3"):
        PosteriorMean()(MixtureDenoiser(mixture(), sigma_max=2.0), t64(POINTS), 3.0, rng=torch.Generator())
