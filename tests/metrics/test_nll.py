"""The negative log likelihood against scipy."""

import numpy as np
import pytest
import torch
from closed_forms import MU, POINTS, C, gaussian, mixture, mixture_pdf, t64
from scipy import stats

from modeseek.errors import UsageError
from modeseek.metrics import nll


def test_agrees_with_scipy():
    """NLL-1."""
    expected = -np.log(mixture_pdf(POINTS)).mean()
    assert nll(t64(POINTS), mixture().log_prob) == pytest.approx(expected, rel=1e-12)


def test_of_its_own_samples_it_is_the_entropy():
    """NLL-1: within five standard errors, and lower at the mode."""
    density, n = gaussian(), 20_000
    x = density.sample(n, torch.Generator().manual_seed(0))
    truth = stats.multivariate_normal(MU, C)
    error = float(density.log_prob(x).std()) / n**0.5
    assert abs(nll(x, density.log_prob) - truth.entropy()) < 5 * error
    assert nll(t64(MU)[None], density.log_prob) == pytest.approx(-truth.logpdf(MU), rel=1e-12)


def test_the_density_sees_float64():
    """NLL-1."""
    seen = []
    nll(torch.zeros(3, 2), lambda x: seen.append(x.dtype) or x[:, 0])
    assert seen == [torch.float64]


def test_outside_the_support_it_is_infinite():
    """NLL-1."""
    box = torch.distributions.Independent(
        torch.distributions.Uniform(t64([0.0, 0.0]), t64([1.0, 2.0]), validate_args=False), 1
    )
    assert nll(t64([[0.5, 0.5], [0.1, 1.9]]), box.log_prob) == pytest.approx(np.log(2), rel=1e-12)
    assert nll(t64([[0.5, 0.5], [3.0, 0.5]]), box.log_prob) == float("inf")


def test_refuses():
    """NLL-1."""
    x = t64(POINTS)
    with pytest.raises(UsageError, match="must be finite, got NaN or infinity in 1 of 2 rows"):
        nll(t64([[0.0, 0.0], [0.0, np.nan]]), mixture().log_prob)
    with pytest.raises(UsageError, match=r"points must be \(N, D\)"):
        nll(x[0], mixture().log_prob)
    with pytest.raises(UsageError, match="one number per point"):
        nll(x, lambda x: x)
    with pytest.raises(UsageError, match="log_prob must not be NaN, got it at 5 of 5 points"):
        nll(x, lambda x: x[:, 0] * np.nan)
