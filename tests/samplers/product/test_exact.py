import math

import numpy as np
import pytest
import torch
from closed_forms import (
    POINTS,
    assert_moments,
    gaussian,
    gaussian_pdf,
    gaussian_product,
    mixture,
    mixture_pdf,
    order,
    product_moments,
    t64,
)

from modeseek.denoisers import MixtureDenoiser
from modeseek.densities import GaussianMixture
from modeseek.methods import ProductOptions
from modeseek.noise import karras_sigmas
from modeseek.samplers.product import Exact, Grid

GAUSSIAN, MIXTURE = MixtureDenoiser(gaussian()), MixtureDenoiser(mixture())
X = np.array([0.3, -0.2])


@pytest.mark.parametrize("sigma", [0.05, 0.4, 3.0])
def test_two_looks_at_one_y(sigma):
    """MSD-9: the kernelled denoiser is E[y | x, z], summed over a dense grid of p(y) N(x; y, h^2) N(z; y, sigma^2)."""
    h = 0.5
    kernelled = Exact(Grid(karras_sigmas(4))).kernelled(MIXTURE, t64(X)[None], h)
    for z in POINTS:
        expected, _ = product_moments(
            lambda y, z=z: mixture_pdf(y) * np.exp(-((z - y) ** 2).sum(-1) / (2 * sigma**2)), X, h
        )
        np.testing.assert_allclose(kernelled(t64(z)[None], sigma)[0].numpy(), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("h", [0.2, 0.6])
@pytest.mark.parametrize(("denoiser", "pdf"), [(GAUSSIAN, gaussian_pdf), (MIXTURE, mixture_pdf)])
def test_samples_the_product_density(denoiser, pdf, h):
    """MSD-9: mean and covariance of 10 000 samples within 5 standard errors at 512 steps from D(x; h)."""
    mean, covariance = product_moments(pdf, X, h)
    if pdf is gaussian_pdf:
        mean, covariance = gaussian_product(X, h)
    sampler = Exact(Grid(karras_sigmas(512, 0.002, 20.0)))
    y = sampler(denoiser, t64(X).expand(10_000, 2), h, rng=torch.Generator().manual_seed(0))
    assert_moments(y, mean, covariance)


@pytest.mark.parametrize("h", [0.2, 1.0])
@pytest.mark.parametrize("denoiser", [GAUSSIAN, MIXTURE])
def test_error_falls_at_first_order(denoiser, h):
    """MSD-9: the deterministic core with the same noise, against 16 times the finest grid's steps."""
    eps = torch.randn(40, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x, steps = t64(X).expand(40, 2), (64, 128, 256, 512)

    def solve(n: int) -> torch.Tensor:
        return Exact(Grid(karras_sigmas(n, 0.002, 20.0))).solve(denoiser, x, h, None, eps)

    fine = solve(8192)
    errors = [float((solve(n) - fine).norm()) for n in steps]
    assert 0.8 <= order(errors, steps) <= 1.3, errors


@pytest.mark.parametrize("steps", [2, 5, 32])
def test_mean_on_a_gaussian_is_right_at_any_step_count(steps):
    """MSD-9: from D(x; h); opposite noises average it out, the map being linear."""
    eps = torch.randn(5, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    sampler = Exact(Grid(karras_sigmas(steps, 0.002, 5.0)))
    x, h = t64(POINTS), 0.4
    y = 0.5 * (sampler.solve(GAUSSIAN, x, h, None, eps) + sampler.solve(GAUSSIAN, x, h, None, -eps))
    expected = np.stack([gaussian_product(row, h)[0] for row in POINTS])
    np.testing.assert_allclose(y.numpy(), expected, rtol=0, atol=1e-10)


def test_what_a_start_at_x_keeps():
    """MSD-9: sqrt(v / (v + sigma_max^2)) of the shift, v the posterior variance, however fine the steps."""
    variance, h, sigma_max = 0.8, 0.6, 5.0
    density = GaussianMixture.isotropic(t64([[0.0, 0.0]]), math.sqrt(variance))
    x = t64(POINTS)
    sampler = Exact(Grid(karras_sigmas(2048, 0.002, sigma_max)), ProductOptions(start="x"))
    y = sampler.solve(MixtureDenoiser(density), x, h, None, torch.zeros_like(x))  # no noise: the mean of a linear map
    shift = variance / (variance + h**2) * x - x
    v = variance * h**2 / (variance + h**2)
    torch.testing.assert_close(x + shift - y, math.sqrt(v / (v + sigma_max**2)) * shift, rtol=0.01, atol=1e-9)
