"""Wide and narrow kernels: what every product sampler must become there."""

import pytest
import torch
from closed_forms import POINTS, mixture, t64

from modeseek.denoisers import MixtureDenoiser
from modeseek.methods import PRODUCT_SAMPLERS, ProductOptions
from modeseek.noise import karras_sigmas
from modeseek.samplers import ddim, invert
from modeseek.samplers.product import ExponentialInverted, Grid

DENOISER = MixtureDenoiser(mixture())
GRID = Grid(karras_sigmas(24, 0.002, 5.0))
X, EPS = t64(POINTS), t64(POINTS[::-1].copy())


@pytest.mark.parametrize("start", ["x", "posterior_mean"])
@pytest.mark.parametrize("name", ["exact", "summed", "exponential", "proximal"])
def test_a_wide_kernel_leaves_plain_ddim(name, start):
    """MSD-9, MSD-12, MSD-14, PROX-1: from the same z, the model's own sample."""
    sampler = PRODUCT_SAMPLERS[name].load().build(GRID, ProductOptions(start=start), DENOISER)
    z = sampler.begin(DENOISER, X, 1e7, None, EPS)
    y = sampler.solve(DENOISER, X, 1e7, None, EPS)
    torch.testing.assert_close(y, ddim(DENOISER, z, GRID.sigmas), rtol=0, atol=1e-9)


def test_a_wide_kernel_leaves_plain_ddim_from_x():
    """MSD-15: the inverted variant starts from x + sigma_max eps there, with nothing of the inversion."""
    y = ExponentialInverted(GRID).solve(DENOISER, X, 1e9, None, EPS, invert(DENOISER, X, GRID.sigmas))
    torch.testing.assert_close(y, ddim(DENOISER, X + 5.0 * EPS, GRID.sigmas), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", sorted(set(PRODUCT_SAMPLERS) - {"summed"}))
def test_a_narrow_kernel_pins(name):
    """MSD-6, MSD-9, MSD-14, MSD-15, PROX-1, GIBBS-1: y is x, up to some bandwidths."""
    sampler = PRODUCT_SAMPLERS[name].load().build(GRID, ProductOptions(), DENOISER)
    y = sampler(DENOISER, X, 1e-5, rng=torch.Generator().manual_seed(0))
    assert float((y - X).abs().max()) < 1e-4
