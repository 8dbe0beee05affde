import numpy as np
import pytest
import torch
from closed_forms import MEANS, POINTS, WEIGHTS, t64

from modeseek.denoisers import IdealDenoiser, MixtureDenoiser
from modeseek.densities import GaussianMixture
from modeseek.errors import UsageError

LEVELS = t64([0.1, 0.2, 0.5, 1.0, 5.0])


@pytest.mark.parametrize("sigma", [0.1, 1.0, LEVELS])
def test_is_the_mixtures_of_no_width(sigma):
    """MSD-16: with the closed form of a mixture of point masses (MIX-1, MIX-2)."""
    z, points, w = t64(POINTS), t64(MEANS), t64(WEIGHTS)
    masses = GaussianMixture.isotropic(points, 0.0, w)
    ideal = IdealDenoiser(points, log_weights=w.log())
    torch.testing.assert_close(ideal(z, sigma), MixtureDenoiser(masses)(z, sigma), rtol=0, atol=1e-12)
    torch.testing.assert_close(ideal.log_prob(z, sigma), masses.log_prob(z, sigma), rtol=1e-12, atol=1e-12)


def test_tweedie():
    """MSD-16: (D - z) / sigma^2 is the gradient of the log density of the same pass, by central differences."""
    z, h = t64(POINTS), 1e-5
    ideal = IdealDenoiser(t64(MEANS))
    x0, log_p = ideal.both(z, LEVELS)
    torch.testing.assert_close(log_p, ideal.log_prob(z, LEVELS), rtol=0, atol=0)
    for d, e in enumerate(torch.eye(2, dtype=torch.float64)):
        slope = (ideal.log_prob(z + h * e, LEVELS) - ideal.log_prob(z - h * e, LEVELS)) / (2 * h)
        torch.testing.assert_close((x0 - z)[:, d] / LEVELS**2, slope, rtol=1e-6, atol=1e-6)


def test_events_of_any_shape():
    """MSD-16: pictures are points."""
    g = torch.Generator().manual_seed(0)
    y, z = torch.randn(9, 3, 4, 4, generator=g), torch.randn(2, 3, 4, 4, generator=g)
    x0 = IdealDenoiser(y)(z, 2.0)
    r = (-(z[:, None] - y).double().square().sum((2, 3, 4)) / 8).softmax(1)
    torch.testing.assert_close(x0, torch.einsum("bn,nchw->bchw", r, y.double()).float())


def test_is_a_denoiser():
    ideal = IdealDenoiser(t64(MEANS), sigma_max=7.0)
    assert (ideal.sigma_min, ideal.sigma_max, ideal.cost(1.0)) == (0.0, 7.0, 1)


def test_refuses():
    ideal = IdealDenoiser(t64(MEANS))
    with pytest.raises(UsageError, match="cond must be None"):
        ideal(t64(POINTS), 0.1, torch.zeros(5))
    with pytest.raises(UsageError, match="sigma must be positive"):
        ideal(t64(POINTS), 0.0)
    with pytest.raises(UsageError, match="points must be finite"):
        IdealDenoiser(t64([[0.0, np.nan]]))
    with pytest.raises(UsageError, match="one for each point"):
        IdealDenoiser(t64(MEANS), log_weights=t64([0.0]))
