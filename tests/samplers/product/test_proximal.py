import math

import numpy as np
import pytest
import torch
from closed_forms import POINTS, Rows, gaussian_product, mixture, t64

from modeseek.denoisers import MixtureDenoiser
from modeseek.densities import GaussianMixture
from modeseek.methods import ProductOptions
from modeseek.noise import karras_sigmas
from modeseek.samplers.product import Exact, Grid, Proximal

MU, VARIANCE = np.array([0.4, -0.3]), 0.6
ISOTROPIC = MixtureDenoiser(GaussianMixture.isotropic(t64(MU)[None], math.sqrt(VARIANCE)))
OPTIONS = ProductOptions(data_variance=VARIANCE)


@pytest.mark.parametrize("h", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("steps", [4, 32])
def test_is_exact_on_an_isotropic_gaussian(steps, h):
    """PROX-1: with data_variance = v it is E[y | x, z] there, so that noise by noise it equals the exact sampler."""
    grid, x = Grid(karras_sigmas(steps, 0.002, 5.0)), t64(POINTS)
    eps = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ours, exact = (s.solve(ISOTROPIC, x, h, None, eps) for s in (Proximal(grid, OPTIONS), Exact(grid)))
    torch.testing.assert_close(ours, exact, rtol=0, atol=1e-10)


@pytest.mark.parametrize("h", [0.1, 0.5, 2.0])
def test_mean_on_an_isotropic_gaussian(h):
    """PROX-1: right at any step count; opposite noises average the linear map."""
    sampler, x = Proximal(Grid(karras_sigmas(8, 0.002, 5.0)), OPTIONS), t64(POINTS)
    eps = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = 0.5 * (sampler.solve(ISOTROPIC, x, h, None, eps) + sampler.solve(ISOTROPIC, x, h, None, -eps))
    expected = np.stack([gaussian_product(row, h, MU, VARIANCE * np.eye(2))[0] for row in POINTS])
    np.testing.assert_allclose(y.numpy(), expected, rtol=0, atol=1e-10)


def test_formula():
    """PROX-1: D + r^2 / (r^2 + h^2) (x - D), r^2 = sigma^2 v / (sigma^2 + v), on a mixture."""
    denoiser, x, z, h, v, sigma = MixtureDenoiser(mixture()), t64(POINTS), t64(POINTS[::-1].copy()), 0.4, 0.3, 0.7
    r2 = sigma**2 * v / (sigma**2 + v)
    x0 = denoiser(z, sigma)
    kernelled = Proximal(Grid(karras_sigmas(4)), ProductOptions(data_variance=v)).kernelled(denoiser, x, h)
    torch.testing.assert_close(kernelled(z, sigma), (h**2 * x0 + r2 * x) / (r2 + h**2))


def test_the_network_sees_z_itself():
    """PROX-1: at the level of the grid, unlike the exact sampler; that is what keeps it in distribution."""
    rows, z = Rows(ISOTROPIC), t64(POINTS)
    Proximal(Grid(karras_sigmas(4))).kernelled(rows, t64(POINTS[::-1].copy()), 0.1)(z, 2.0)
    assert rows.levels == [2.0]
    assert torch.equal(rows.seen[0], z)
