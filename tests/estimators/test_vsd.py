from typing import get_args

import numpy as np
import pytest
import torch
from closed_forms import MU, POINTS, C, Rows, gaussian, mixture, t64

from modeseek.denoisers import Denoiser, MixtureDenoiser
from modeseek.densities import GaussianMixture
from modeseek.distillation import distill
from modeseek.errors import UsageError
from modeseek.estimators import MSD, SDS, VSD, Estimator, Particles, Trains
from modeseek.generators import Points
from modeseek.methods import Weighting
from modeseek.noise import NoiseTable
from modeseek.randomness import Streams
from modeseek.samplers.product import PosteriorMean
from modeseek.schedules import Anneal, Uniform

TABLE = NoiseTable.vp()
GAUSSIAN, MIXTURE = MixtureDenoiser(gaussian()), MixtureDenoiser(mixture())
X = t64(POINTS)


def rng() -> Streams:
    return Streams.for_batch(0, 5)


class Given(Particles):
    """An auxiliary that is a given denoiser."""

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.given = denoiser

    def denoiser(self, x: torch.Tensor) -> Denoiser:
        return self.given


@pytest.mark.parametrize("sigma", [0.03, 0.5, 14.0])
def test_mean_at_one_level_between_two_gaussians(sigma):
    """VSD-1: exactly, since opposite noises average a linear map; the auxiliary's Gaussian is N(m, 0.3 I)."""
    levels = torch.full((5,), sigma, dtype=torch.float64)
    m, v = np.array([1.0, 0.5]), 0.3
    other = GaussianMixture.isotropic(t64(m)[None], v**0.5)
    assert float(other.covariances[0, 0, 0]) == pytest.approx(v)
    vsd = VSD(GAUSSIAN, TABLE, Given(MixtureDenoiser(other)))
    eps = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mean = 0.5 * (vsd.gradient(X, None, eps, levels) + vsd.gradient(X, None, -eps, levels))
    ours = np.linalg.solve(C + sigma**2 * np.eye(2), (POINTS - MU).T).T
    expected = sigma**3 / (1 + sigma**2) * (ours - (POINTS - m) / (v + sigma**2))
    np.testing.assert_allclose(mean.numpy(), expected, rtol=0, atol=1e-11)


def test_core_is_the_formula():
    """VSD-1: w (eps_hat - eps_phi), by the scores of the noised mixture and of the particles' own density."""
    sigma = t64([0.05, 0.2, 0.5, 1.0, 5.0])
    eps = t64(POINTS[::-1].copy())
    z = X + sigma[:, None] * eps
    eps_phi = torch.stack(
        [-s * GaussianMixture.isotropic(X, 0.1).score(row[None], float(s))[0] for s, row in zip(sigma, z)]
    )
    difference = -sigma[:, None] * mixture().score(z, sigma) - eps_phi
    vsd = VSD(MIXTURE, TABLE, Particles(smoothing=0.1), weighting="uniform")
    torch.testing.assert_close(vsd.gradient(X, None, eps, sigma), difference)
    w = (sigma**2 / (1 + sigma**2))[:, None]
    torch.testing.assert_close(VSD(MIXTURE, TABLE, Particles(0.1)).gradient(X, None, eps, sigma), w * difference)


@pytest.mark.parametrize("weighting", ["sigma2", "uniform"])
def test_of_one_particle_is_sds(weighting):
    """VSD-1: the ideal score of one particle is the drawn noise."""
    for row in range(5):
        x = X[row : row + 1]
        vsd = VSD(MIXTURE, TABLE, Particles(), weighting=weighting)(x, rng=Streams(3, [row]))
        sds = SDS(MIXTURE, TABLE, weighting=weighting)(x, rng=Streams(3, [row]))
        torch.testing.assert_close(vsd.grad, sds.grad, rtol=1e-9, atol=1e-9)
        assert vsd.info["sigma"] == sds.info["sigma"]


def test_of_particles_far_apart_is_sds():
    """VSD-1: at a level far below their distance; together it is not."""
    x, eps, sigma = 50 * X, t64(POINTS[::-1].copy()), torch.full((5,), 0.1, dtype=torch.float64)
    vsd, sds = VSD(MIXTURE, TABLE, Particles()), SDS(MIXTURE, TABLE)
    torch.testing.assert_close(vsd.gradient(x, None, eps, sigma), sds.gradient(x, None, eps, sigma))
    near = vsd.gradient(X, None, eps, 10 * sigma) - sds.gradient(X, None, eps, 10 * sigma)
    assert float(near.abs().min()) > 0.01


def test_vanishes_where_the_renderings_have_the_models_density():
    """VSD-1: with the model itself as auxiliary, at any noise."""
    assert not bool(VSD(MIXTURE, TABLE, Given(MIXTURE))(X, rng=rng()).grad.any())


def test_particles_spread_as_the_density_where_mean_shift_collapses():
    """VSD-1: 200 particles on N(MU, C) end with its mean and covariance, to five standard errors of such a sample."""
    n, start = 200, 3 * Streams.for_batch(9, 200).normal((200, 2)).double()

    def end(estimator: Estimator) -> torch.Tensor:
        points = Points(start)
        optimiser = torch.optim.SGD(points.parameters(), lr=0.5)
        distill(points, estimator, steps=200, rng=Streams.for_batch(1, n), optimiser=optimiser)
        return points().detach()

    table = NoiseTable.karras(100, 0.3, 1.5)
    spread = end(VSD(GAUSSIAN, table, Particles(), time_range=(0.0, 1.0), weighting="uniform"))
    error = (spread.mean(0).numpy() - MU) / np.sqrt(np.diag(C) / n)
    assert (np.abs(error) < 5).all(), error
    scale = np.sqrt((C**2 + np.outer(np.diag(C), np.diag(C))) / n)
    covariance = np.cov(spread.numpy().T)
    assert (np.abs(covariance - C) / scale < 5).all(), covariance
    collapsed = end(MSD(GAUSSIAN, PosteriorMean(), 0.5))
    assert float(collapsed.var(0).max()) < 1e-6


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_events_of_any_shape(smoothing):
    """VSD-1: a folded event gives the folded result."""

    class Shrunk(Rows):
        def __init__(self) -> None:
            super().__init__(lambda z, sigma, cond: z / (1 + sigma.reshape(-1, *[1] * (z.ndim - 1)) ** 2))

    vsd, x = VSD(Shrunk(), TABLE, Particles(smoothing)), X.repeat(1, 6)
    flat, folded = vsd(x, rng=rng()), vsd(x.reshape(5, 3, 2, 2), rng=rng())
    torch.testing.assert_close(folded.grad.reshape(5, 12), flat.grad)


def test_particles_are_asked_without_the_condition():
    """VSD-1: they are one density, whatever their classes."""
    model, cond = MixtureDenoiser(mixture(), torch.tensor([0, 1, 0])), torch.tensor([0, 1, 1, 0, 1])
    vsd, sds = VSD(model, TABLE, Particles()), SDS(model, TABLE)
    sigma, eps = torch.full((5,), 0.5, dtype=torch.float64), t64(POINTS[::-1].copy())
    with_cond = vsd.gradient(X, cond, eps, sigma) - sds.gradient(X, cond, eps, sigma)
    without = vsd.gradient(X, None, eps, sigma) - sds.gradient(X, None, eps, sigma)
    torch.testing.assert_close(with_cond, without)


def test_particles_may_be_given():
    """VSD-1: then a row does not depend on the batch; given the batch, nothing changes."""
    sigma, eps = torch.full((5,), 0.5, dtype=torch.float64), t64(POINTS[::-1].copy())
    given = VSD(MIXTURE, TABLE, Particles(0.1, X))
    grad = VSD(MIXTURE, TABLE, Particles(0.1)).gradient(X, None, eps, sigma)
    assert torch.equal(given.gradient(X, None, eps, sigma), grad)
    torch.testing.assert_close(given.gradient(X[2:3], None, eps[2:3], sigma[2:3]), grad[2:3])


def test_claimed_evaluations():
    """One of the model and one of the auxiliary."""
    estimate = VSD(GAUSSIAN, TABLE, Particles())(X, rng=rng())
    assert (estimate.nfe, VSD(GAUSSIAN, TABLE, Particles()).nfe(0)) == (2, 2)
    assert estimate.info["converged"] is False


@pytest.mark.parametrize("time", [0.5, Anneal(0.98, 0.02, 5, "sqrt"), Uniform(0.1, 0.9, drop=(1, 0.3))])
@pytest.mark.parametrize("weighting", get_args(Weighting))
def test_takes_times_and_weights_as_sds(time, weighting):
    """VSD-1: with an auxiliary that predicts the drawn noise (one particle) it is SDS at every step."""
    for step in (0, 2, 7):
        told = {"time": time, "weighting": weighting}
        vsd = VSD(MIXTURE, TABLE, Particles(), **told)(X[:1], rng=Streams(3), step=step)
        sds = SDS(MIXTURE, TABLE, **told)(X[:1], rng=Streams(3), step=step)
        torch.testing.assert_close(vsd.grad, sds.grad, rtol=1e-9, atol=1e-9)
        assert (vsd.info["sigma"], vsd.info["converged"]) == (sds.info["sigma"], sds.info["converged"])


def test_x0_weighting_is_the_difference_of_the_denoised():
    """VSD-1, SDS-3: w = sigma gives x0_phi - x0."""
    sigma, eps = t64([0.05, 0.2, 0.5, 1.0, 5.0]), t64(POINTS[::-1].copy())
    z = X + sigma[:, None] * eps
    vsd = VSD(MIXTURE, TABLE, Given(GAUSSIAN), weighting="x0")
    torch.testing.assert_close(vsd.gradient(X, None, eps, sigma), GAUSSIAN(z, sigma) - MIXTURE(z, sigma))


def test_trains_through_its_auxiliary():
    seen = []

    class Learning(Particles):
        def fit(self, x, cond, rng, step):
            seen.append((x, cond, rng, step))
            return {"fit_loss": 0.5}

        def state_dict(self):
            return {"a": torch.ones(1)}

        def load_state_dict(self, state):
            seen.append(state)

    vsd, cond, streams = VSD(GAUSSIAN, TABLE, Learning()), torch.zeros(1), rng()
    assert vsd.fit(X.clone().requires_grad_(), cond, rng=streams, step=7) == {"fit_loss": 0.5}
    assert not seen[0][0].requires_grad
    assert torch.equal(seen[0][0], X)
    assert seen[0][1:] == (cond, streams, 7)
    vsd.load_state_dict(vsd.state_dict())
    assert seen[1] == {"a": torch.ones(1)}
    assert isinstance(vsd, Trains)
    assert not isinstance(SDS(GAUSSIAN, TABLE), Trains)


def test_particles_have_no_state():
    particles = Particles()
    assert particles.fit(X, None, rng(), 0) == {}
    particles.load_state_dict(particles.state_dict())
    with pytest.raises(UsageError, match=r"the state of particles must be empty, got network\.a"):
        particles.load_state_dict({"network.a": torch.zeros(1)})


def test_refuses():
    for smoothing in (-0.1, float("nan")):
        with pytest.raises(UsageError, match="smoothing must not be negative"):
            Particles(smoothing)
    with pytest.raises(UsageError, match="weighting must be sigma2, uniform, fantasia3d or x0, got 'snr'"):
        VSD(GAUSSIAN, TABLE, Particles(), weighting="snr")
    with pytest.raises(UsageError, match="time range"):
        VSD(GAUSSIAN, TABLE, Particles(), time_range=(0.9, 0.1))
