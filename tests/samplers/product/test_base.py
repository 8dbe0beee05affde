import math

import pytest
import torch
from closed_forms import POINTS, Rows, gaussian, mixture, t64
from hypothesis import given
from hypothesis import strategies as st

from modeseek.denoisers import MixtureDenoiser
from modeseek.errors import UsageError
from modeseek.methods import ProductOptions
from modeseek.noise import karras_sigmas
from modeseek.samplers import ddim
from modeseek.samplers.product import Exact, Grid, Proximal, Summed
from modeseek.samplers.product.base import variance_of_two

DENOISER = MixtureDenoiser(mixture(), torch.tensor([0, 1, 0]))
GRID = Grid(karras_sigmas(8, 0.002, 5.0))
X, EPS = t64(POINTS), t64(POINTS[::-1].copy())


@given(a=st.floats(1e-3, 1e3), b=st.floats(1e-3, 1e3))
def test_variance_of_two_looks(a, b):
    """MSD-9: precisions add."""
    assert 1 / variance_of_two(a, b) == pytest.approx(1 / a**2 + 1 / b**2)
    assert variance_of_two(a, math.inf) == pytest.approx(a**2)
    assert variance_of_two(a, 0.0) == 0.0


def test_grids_are_checked():
    with pytest.raises(UsageError, match="falling"):
        Grid(t64([0.0, 1.0]))
    with pytest.raises(UsageError, match="3 levels needs as many timesteps, got 2"):
        Grid(t64([2.0, 1.0, 0.0]), t64([9.0, 0.0]))


def test_starts_at_the_posterior_mean_or_at_x():
    """MSD-9: D(x; h) + sigma_max eps, under the condition; or x + sigma_max eps."""
    cond = torch.tensor([0, 1, 1, 0, 0])
    z = Exact(GRID).begin(DENOISER, X, 0.3, cond, EPS)
    torch.testing.assert_close(z, DENOISER(X, 0.3, cond) + 5.0 * EPS)
    z = Exact(GRID, ProductOptions(start="x")).begin(DENOISER, X, 0.3, cond, EPS)
    torch.testing.assert_close(z, X + 5.0 * EPS)


def test_a_start_above_the_models_largest_level_is_taken_there():
    rows = Rows(DENOISER, sigma_max=5.0)
    Exact(GRID).begin(rows, X, 70.0, None, EPS)
    assert rows.levels == [5.0]


@pytest.mark.parametrize("kind", [Exact, Summed, Proximal])
def test_the_kernel_acts_inside_its_interval_alone(kind):
    """MSD-9, MSD-12, PROX-1: elsewhere the integrator sees the model itself, its ends belong to it."""
    options = ProductOptions(low=0.3, high=1.0, allow_unstable=True)
    limited, free = (kind(GRID, o).kernelled(DENOISER, X, 0.5) for o in (options, ProductOptions(allow_unstable=True)))
    for sigma in (0.1, 0.29, 1.01, 4.0):
        torch.testing.assert_close(limited(EPS, sigma), DENOISER(EPS, sigma), rtol=0, atol=0)
    for sigma in (0.3, 0.7, 1.0):
        torch.testing.assert_close(limited(EPS, sigma), free(EPS, sigma), rtol=0, atol=0)
        assert float((free(EPS, sigma) - DENOISER(EPS, sigma)).abs().max()) > 1e-3


@pytest.mark.parametrize("kind", [Exact, Summed, Proximal])
def test_a_kernelled_denoiser_is_a_denoiser(kind):
    rows = Rows(DENOISER, 0.1, 7.0)
    kernelled = kind(GRID, ProductOptions(allow_unstable=True)).kernelled(rows, X, 0.5)
    assert (kernelled.sigma_min, kernelled.sigma_max, kernelled.cost(1.0)) == (0.1, 7.0, 1)


def test_without_a_kernel_it_is_ddim():
    """DDIM-1: an interval that no level lies in."""
    options = ProductOptions(low=100.0, start="x")
    for kind in (Exact, Summed, Proximal):
        y = kind(GRID, options).solve(MixtureDenoiser(gaussian()), X, 0.1, None, EPS)
        torch.testing.assert_close(y, ddim(MixtureDenoiser(gaussian()), X + 5.0 * EPS, GRID.sigmas))
