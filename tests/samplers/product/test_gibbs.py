import itertools
import math

import numpy as np
import pytest
import torch
from closed_forms import (
    POINTS,
    C,
    Rows,
    assert_moments,
    gaussian,
    gaussian_product,
    mixture,
    mixture_pdf,
    product_moments,
    t64,
)

from modeseek.denoisers import MixtureDenoiser
from modeseek.errors import UsageError
from modeseek.methods import ProductOptions
from modeseek.noise import karras_sigmas
from modeseek.randomness import Streams
from modeseek.samplers.product import Gibbs, Grid

GAUSSIAN, MIXTURE = MixtureDenoiser(gaussian()), MixtureDenoiser(mixture())
X = np.array([0.3, -0.2])


def sampler(sweeps: int, steps: int, **options: object) -> Gibbs:
    chosen = ProductOptions(sweeps=sweeps, data_variance=float(np.trace(C)) / 2, **options)
    return Gibbs(Grid(karras_sigmas(steps, 0.002, 5.0)), chosen)


def samples(denoiser: MixtureDenoiser, h: float, sweeps: int, steps: int, n: int = 10_000) -> torch.Tensor:
    return sampler(sweeps, steps)(denoiser, t64(X).expand(n, 2), h, rng=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("h", [0.05, 0.5, 30.0])
def test_distances_fall(h):
    """GIBBS-1: geometrically, from below the grid's first level to a fraction of the bandwidth."""
    rhos = sampler(8, 64).rhos(GAUSSIAN, h)
    assert len(rhos) == 8
    ratios = [b / a for a, b in itertools.pairwise(rhos)]
    assert ratios == pytest.approx([ratios[0]] * 7)
    assert ratios[0] < 1
    assert rhos[0] <= 5.0
    assert rhos[-1] <= 0.2 * h
    assert sampler(1, 64).rhos(GAUSSIAN, h) == pytest.approx([rhos[-1]])


def test_steps_are_shared_between_sweeps():
    """GIBBS-1: at least two for each; the claim is what reaches the model."""
    for sweeps, steps, inner in [(8, 64, 8), (8, 33, 4), (8, 4, 2)]:
        rows = Rows(GAUSSIAN)
        chain = sampler(sweeps, steps)
        chain(rows, t64(POINTS), 0.5, rng=torch.Generator())
        assert chain.inner_steps == inner
        assert rows.rows / len(POINTS) == sweeps * inner + 1 == chain.nfe(GAUSSIAN, 0.5)


def test_the_coupling_variable():
    """GIBBS-1: u ~ N((rho^2 x + h^2 y) / (h^2 + rho^2), h^2 rho^2 / (h^2 + rho^2)), seen at level rho."""
    h, n, rows = 0.5, 20_000, Rows(GAUSSIAN)
    chain = sampler(4, 8)
    chain(rows, t64(X).expand(n, 2), h, rng=torch.Generator().manual_seed(0))
    rho, y = chain.rhos(GAUSSIAN, h)[0], gaussian_product(X, h)[0]
    variance = h**2 * rho**2 / (h**2 + rho**2)
    assert rows.levels[1] == pytest.approx(rho)
    assert_moments(rows.seen[1], (rho**2 * X + h**2 * y) / (h**2 + rho**2), variance * np.eye(2))


class Silent(Streams):
    """Zeros for normal numbers: on a Gaussian, where everything is linear, the chain is then its own mean."""

    def normal(self, shape):
        return torch.zeros(tuple(shape))


def mean_of_the_chain(h: float, sweeps: int, steps: int) -> np.ndarray:
    return sampler(sweeps, steps)(GAUSSIAN, t64(X)[None], h, rng=Silent(0))[0].numpy()


@pytest.mark.parametrize(("sweeps", "steps"), [(1, 2), (8, 32), (20, 100)])
@pytest.mark.parametrize("h", [0.05, 0.6])
def test_mean_of_the_chain_on_a_gaussian(h, sweeps, steps):
    """GIBBS-1: from D(x; h), u moves between x and y and y to E[y | u], which an ancestral sampler hits at any step
    count; written out with precisions."""
    y = gaussian_product(X, h)[0]
    for rho in sampler(sweeps, steps).rhos(GAUSSIAN, h):
        y = gaussian_product((rho**2 * X + h**2 * y) / (h**2 + rho**2), rho)[0]
    np.testing.assert_allclose(mean_of_the_chain(h, sweeps, steps), y, rtol=0, atol=1e-10)


@pytest.mark.parametrize("h", [0.05, 0.2, 0.6])
def test_bias_of_the_mean_falls_with_the_sweeps(h):
    """GIBBS-1: the kernel of variance h^2 + rho^2 is too wide; what is left is the last distance's, 2.25 % of h^2."""
    mean = gaussian_product(X, h)[0]
    biases = [np.linalg.norm(mean_of_the_chain(h, n, 4 * n) - mean) / np.linalg.norm(mean - X) for n in (8, 64, 512)]
    assert biases[0] > biases[1] > biases[2], biases
    assert biases[0] < 0.18
    assert biases[2] < 0.03


@pytest.mark.parametrize(
    ("denoiser", "h", "tolerance"),
    # measured: variances 0.62, 0.92, 1.01 and 0.83, 0.96, 0.98 of the true one
    [(GAUSSIAN, 0.2, 0.05), (MIXTURE, 0.6, 0.06)],
)
def test_converges_to_the_product_density(denoiser, h, tolerance):
    """GIBBS-1: distance of mean and variance falls as sweeps and inner steps grow."""
    mean, covariance = gaussian_product(X, h) if denoiser is GAUSSIAN else product_moments(mixture_pdf, X, h)
    deviations, variances = [], []
    for sweeps, steps in [(8, 32), (8, 128), (16, 512)]:
        y = samples(denoiser, h, sweeps, steps)
        deviations.append(float(np.linalg.norm(y.mean(0).numpy() - mean)) / math.sqrt(np.trace(covariance)))
        variances.append(abs(float(y.var(0).sum()) / np.trace(covariance) - 1))
    assert variances[0] > variances[1] > variances[2]
    assert variances[2] < tolerance
    assert deviations[2] < tolerance
    assert deviations[2] < deviations[0] + 0.02


def test_start_at_x():
    """GIBBS-1: one evaluation less."""
    rows = Rows(GAUSSIAN)
    chain = sampler(4, 8, start="x")
    chain(rows, t64(POINTS), 0.5, rng=torch.Generator())
    assert rows.rows / len(POINTS) == 8 == chain.nfe(GAUSSIAN, 0.5)


def test_refuses_no_sweeps():
    with pytest.raises(UsageError, match="sweeps must be at least 1, got 0"):
        sampler(0, 8)
