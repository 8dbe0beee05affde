import math

import numpy as np
import pytest
import torch
from closed_forms import POINTS, Rows, mixture, still, t64
from scipy import integrate

from modeseek.denoisers import MixtureDenoiser
from modeseek.errors import UsageError
from modeseek.methods import ProductOptions
from modeseek.noise import karras_sigmas
from modeseek.samplers.product import Exponential, Grid, Summed
from modeseek.samplers.product.exponential import contractions

X, EPS = t64(POINTS), t64(POINTS[::-1].copy())


@pytest.mark.parametrize("end", [0.0, 0.05])
@pytest.mark.parametrize("h", [0.5, 2.0])
def test_factors_multiply_to_the_whole_pull(h, end):
    """MSD-14: over any grid the factors' product is exp(-(sigma_max^2 - sigma_end^2) / (2 h^2))."""
    for steps in (3, 50):
        factors = contractions(Grid(karras_sigmas(steps, 0.1, 3.0, end=end)), h, ProductOptions())
        assert len(factors) == steps
        assert all(0 <= f <= 1 for f in factors)
        assert math.prod(factors) == pytest.approx(math.exp(-(3.0**2 - end**2) / (2 * h**2)), rel=1e-9)


def test_a_factor_solves_the_kernels_equation():
    """MSD-14, MSD-12: dz / dsigma = sigma (z - x) / h^2, integrated by scipy from sigma to sigma'."""
    h, high, low = 0.8, 1.5, 0.9
    solved = integrate.solve_ivp(lambda s, z: s * z / h**2, (high, low), [1.0], rtol=1e-11, atol=1e-12)
    factor = contractions(Grid(t64([high, low])), h, ProductOptions())[0]
    assert factor == pytest.approx(float(solved.y[0, -1]), rel=1e-8)


def test_clock_of_timesteps():
    """MSD-14: kappa = (t - t') / lambda^2 with lambda^2 = 2 h^2."""
    grid = Grid(karras_sigmas(3, 0.1, 3.0), t64([999, 600, 120, 0]))
    factors = contractions(grid, 10.0, ProductOptions(clock="timestep"))
    assert factors == pytest.approx([math.exp(-399 / 200), math.exp(-480 / 200), math.exp(-120 / 200)])
    with pytest.raises(UsageError, match="needs a model with timesteps"):
        contractions(Grid(karras_sigmas(3)), 10.0, ProductOptions(clock="timestep"))


@pytest.mark.parametrize("clock", ["sigma", "timestep"])
def test_interval_switches_it_off_outside(clock):
    """MSD-14: a step counts where it starts; the interval's ends belong to it."""
    grid = Grid(t64([4.0, 2.0, 1.0, 0.5, 0.0]), t64([900, 600, 400, 200, 0]))
    free = contractions(grid, 1.0, ProductOptions(clock=clock))
    limited = contractions(grid, 1.0, ProductOptions(clock=clock, low=1.0, high=2.0))
    assert limited == [1.0, free[1], free[2], 1.0]


@pytest.mark.parametrize("h", [0.7, 3.0])
def test_contracts_to_x(h):
    """MSD-14, MSD-15: where the model moves nothing, y - x is the whole pull times start - x."""
    grid = Grid(karras_sigmas(12, 0.1, 3.0, end=0.05))
    sampler = Exponential(grid, ProductOptions(start="x"))
    y = sampler.solve(Rows(still), X, h, None, EPS)
    torch.testing.assert_close(y - X, math.exp(-(3.0**2 - 0.05**2) / (2 * h**2)) * 3.0 * EPS, rtol=1e-9, atol=1e-14)


def test_a_step_is_the_models_then_the_kernels():
    """MSD-15: z' = x + (ddim step - x) exp(-kappa), written out for two steps."""
    denoiser, h = MixtureDenoiser(mixture()), 0.9
    z = X + 2.0 * EPS
    y = Exponential(Grid(t64([2.0, 1.0, 0.0])), ProductOptions(start="x")).solve(denoiser, X, h, None, EPS)
    for sigma, sigma_next in [(2.0, 1.0), (1.0, 0.0)]:
        x0 = denoiser(z, sigma)
        z = z + (sigma_next - sigma) * (z - x0) / sigma
        z = X + np.exp(-(sigma**2 - sigma_next**2) / (2 * h**2)) * (z - X)
    torch.testing.assert_close(y, z)


def test_solves_the_summed_equation_in_the_limit():
    """MSD-14, MSD-12: split steps and Euler on the sum integrate the same equation; stable at any step length."""
    denoiser, h = MixtureDenoiser(mixture()), 0.5
    sigmas = torch.linspace(3.0, 0, 4001, dtype=torch.float64)
    split, euler = (kind(Grid(sigmas)).solve(denoiser, X, h, None, EPS) for kind in (Exponential, Summed))
    torch.testing.assert_close(split, euler, rtol=0, atol=4e-3)
    coarse = Exponential(Grid(karras_sigmas(4))).solve(denoiser, X, 0.01, None, 100 * EPS)
    assert float((coarse - X).abs().max()) < 0.1
