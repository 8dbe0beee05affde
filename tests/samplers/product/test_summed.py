import math

import numpy as np
import pytest
import torch
from closed_forms import order, t64
from scipy import integrate, optimize, special

from modeseek.denoisers import MixtureDenoiser
from modeseek.densities import GaussianMixture
from modeseek.errors import UnstableError
from modeseek.methods import ProductOptions
from modeseek.noise import karras_sigmas
from modeseek.samplers import heun
from modeseek.samplers.product import Grid, Summed

MU = 0.7
CASES = [(1.0, 0.2), (0.5, 0.5), (0.78, 1.0), (0.2, 1.0), (2.0, 0.05)]  # c, h


def weight(c: float, h: float) -> float:
    """w_x = (c / h) sqrt(pi / 2) exp(c^2 / 2 h^2) erfc(c / (sqrt 2 h)); erfcx holds above c / h = 37."""
    return c / h * math.sqrt(math.pi / 2) * special.erfcx(c / (math.sqrt(2) * h))


def model(c: float) -> MixtureDenoiser:
    return MixtureDenoiser(GaussianMixture.isotropic(t64([[MU]]), c))


@pytest.mark.parametrize(("c", "h"), CASES)
def test_the_weight_is_the_integral(c, h):
    """MSD-12: of the ODE's source over its growth, by scipy's quadrature."""
    value, _ = integrate.quad(
        lambda s: s / h**2 * math.exp(-(s**2) / (2 * h**2)) / math.sqrt(1 + s**2 / c**2), 0, 40 * h
    )
    assert weight(c, h) == pytest.approx(value, rel=1e-8)


@pytest.mark.parametrize(("c", "h"), CASES)
def test_ends_in_one_point_on_a_gaussian(c, h):
    """MSD-12: y = mu + w_x (x - mu) with spread 0, whatever the noise; at first order in the steps."""
    x, eps = t64([[2.0], [2.0], [-1.0], [-1.0]]), t64([[3.0], [-3.0], [0.0], [1.0]])
    steps, errors = (500, 1000, 2000), []
    expected = MU + weight(c, h) * (x - MU)
    for n in steps:
        grid = Grid(torch.linspace(8 * h, 0, n + 1, dtype=torch.float64))  # exp(-8^2 / 2) of the start is left
        y = Summed(grid).solve(model(c), x, h, None, eps)
        assert float((y[::2] - y[1::2]).abs().max()) < 1e-9
        errors.append(float((y - expected).norm()))
    assert 0.8 <= order(errors, steps) <= 1.3, errors
    assert errors[-1] < 3e-3 * float((x - expected).norm())


@pytest.mark.parametrize(("c", "h"), CASES)
def test_the_point_by_a_second_order_method(c, h):
    """MSD-12: Heun's method on the same kernelled denoiser ends at mu + w_x (x - mu)."""
    x = t64([[2.0], [-1.0]])
    sigmas = torch.linspace(8 * h, 0, 4001, dtype=torch.float64)
    kernelled = Summed(Grid(sigmas)).kernelled(model(c), x, h)
    y = heun(kernelled, x + 8 * h, sigmas)
    torch.testing.assert_close(y, MU + weight(c, h) * (x - MU), rtol=0, atol=5e-5 * float((x - MU).abs().max()))


def test_at_least_two_thirds_of_the_true_shift():
    """MSD-12: (1 - w_x) / (1 - c^2 / (c^2 + h^2)) is at least 0.68, worst near c / h = 0.78, 1 at both ends."""
    ratio = lambda c: (1 - weight(c, 1.0)) * (c**2 + 1)  # noqa: E731
    worst = optimize.minimize_scalar(ratio, bounds=(0.05, 20), method="bounded")
    assert worst.fun == pytest.approx(0.68, abs=0.005)
    assert worst.x == pytest.approx(0.78, abs=0.02)
    assert ratio(1e-3) == pytest.approx(1, abs=0.01)
    assert ratio(1e2) == pytest.approx(1, abs=0.01)


def test_refuses_steps_that_are_too_long():
    """MSD-12: explicit stability, (sigma - sigma') sigma / h^2 < 2, said with numbers and ways out."""
    grid = Grid(karras_sigmas(32, 0.002, 5.0))
    sigmas = grid.sigmas.numpy()
    limit = math.sqrt(np.max(-np.diff(sigmas) * sigmas[:-1]) / 2)
    x = t64([[2.0]])
    says = r"\(sigma - sigma'\) sigma / bandwidth\^2 must stay below 2, got 2\.08 at bandwidth .*exponential or exact"
    with pytest.raises(UnstableError, match=says):
        Summed(grid)(model(0.3), x, limit * 0.98, rng=torch.Generator())
    assert bool(Summed(grid)(model(0.3), x, limit * 1.001, rng=torch.Generator()).isfinite().all())


def test_the_limit_is_where_it_diverges():
    """MSD-12: on a point mass, where the model adds nothing, a step beyond the limit throws z further away."""
    x = t64([[2.0]])
    options = ProductOptions(allow_unstable=True, start="x")
    grid = Grid(torch.linspace(50, 40, 201, dtype=torch.float64))
    near, beyond = (
        float((Summed(grid, options).solve(model(100.0), x, h, None, t64([[0.1]])) - x).abs()) for h in (1.3, 1.0)
    )
    assert near < 5
    assert beyond > 50


def test_a_kernel_interval_avoids_the_long_steps():
    """MSD-12: only the steps on which the kernel acts count."""
    grid = Grid(karras_sigmas(32, 0.002, 5.0))
    y = Summed(grid, ProductOptions(high=0.5))(model(0.3), t64([[2.0]]), 0.2, rng=torch.Generator())
    assert bool(y.isfinite().all())
