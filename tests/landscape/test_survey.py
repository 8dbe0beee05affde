"""Landscapes of methods on a Gaussian mixture with an exact denoiser."""

import numpy as np
import pytest
import torch
from closed_forms import MEANS, log_density, log_density_gradient, mixture
from scipy.optimize import minimize

from modeseek.denoisers import MixtureDenoiser
from modeseek.densities import GaussianMixture
from modeseek.errors import UsageError
from modeseek.landscape import axis, compare, survey


def modes_of(h):
    """Modes of p_h by scipy, from every component's mean and the torch.distributions density."""

    def fun(x):
        x = torch.as_tensor(x)[None]
        return -float(log_density(x, h)), -log_density_gradient(x, h)[0].numpy()

    ends = [minimize(fun, m, jac=True, method="BFGS", options={"gtol": 1e-10}).x for m in MEANS]
    return torch.as_tensor(np.unique(np.round(ends, 7), axis=0))


def mean_shift(h):
    """What MSD descends: x - D(x; h)."""
    denoiser = MixtureDenoiser(mixture())
    return lambda x: x - denoiser(x, h)


@pytest.mark.parametrize("h", [0.05, 0.1, 0.4])
def test_mean_shift_descends_the_log_of_the_smoothed_density(h):
    """LAND-1, LAND-2, LAND-3: -h^2 log p_h up to a constant, its minima the modes of p_h, none missed, no phantom."""
    xs, ys = axis(-1.6, 1.5, 201), axis(-1.7, 1.4, 201)
    result = survey(mean_shift(h), xs, ys)
    truth = -(h**2) * log_density(torch.cartesian_prod(xs, ys), h).reshape(201, 201)
    off = result.potential - truth
    assert float(off.max() - off.min()) < 5e-4 * float(truth.max() - truth.min())
    assert result.residual < 5e-4
    assert result.residual_limit < 0.5 * result.residual
    modes = modes_of(h)
    assert len(modes) == (1 if h == 0.4 else 3)
    assert len(result.minima) == len(modes)
    np.testing.assert_allclose(sorted(result.minima.tolist()), sorted(modes.tolist()), atol=1e-4)
    seen = compare(result.minima, modes, 1e-3)
    assert (len(seen.found), len(seen.missed), len(seen.phantom)) == (len(modes), 0, 0)


def test_the_smoothed_log_has_a_phantom_minimum():
    """LAND-1, LAND-3: what SDS at one wide level descends, its mean by Gauss-Hermite quadrature.

    It is a gradient too, but of another function, whose one minimum lies between the modes, where p has next to
    nothing: the paper's phantom mode. The mean shift with a bandwidth of 0.2 finds both modes and nothing else.
    """
    modes = torch.tensor([[-0.4, 0.0], [0.4, 0.0]], dtype=torch.float64)
    two = GaussianMixture.isotropic(modes, 0.1)
    denoiser, sigma = MixtureDenoiser(two), 0.5
    nodes, weights = (torch.as_tensor(a) for a in np.polynomial.hermite_e.hermegauss(12))
    eps = torch.cartesian_prod(nodes, nodes)
    w = torch.outer(weights, weights).flatten() / (2 * np.pi)

    def sds(x):
        z = (x[:, None] + sigma * eps).reshape(-1, 2)
        eps_hat = ((z - denoiser(z, sigma)) / sigma).reshape(len(x), len(eps), 2)
        return (w[:, None] * eps_hat).sum(1)

    xs = axis(-1, 1, 61)
    result = survey(sds, xs, xs)
    assert result.residual_limit < 1e-4
    seen = compare(result.minima, modes, 0.1)
    assert (len(seen.found), len(seen.missed), len(seen.phantom)) == (0, 2, 1)
    assert float(seen.phantom.norm()) < 1e-9
    right = compare(survey(lambda x: x - denoiser(x, 0.2), xs, xs).minima, modes, 0.1)
    assert (len(right.found), len(right.phantom)) == (2, 0)


def test_another_number_of_nodes_has_no_limit():
    """LAND-2."""
    xs = axis(-1, 1, 10)
    assert np.isnan(survey(mean_shift(0.2), xs, xs).residual_limit)
    assert survey(mean_shift(0.2), xs, xs).residual > 0


def test_refuses():
    """LAND-1."""
    xs = axis(-1, 1, 5)
    with pytest.raises(UsageError, match="ys must be three or more equidistant"):
        survey(mean_shift(0.2), xs, torch.tensor([0.0, 1.0, 3.0]))
    with pytest.raises(UsageError, match="must not be zero everywhere"):
        survey(torch.zeros_like, xs, xs)
