import numpy as np
import pytest
import torch
from closed_forms import POINTS, Rows, gaussian, log_density_gradient, mixture, mixture_pdf, product_moments, t64

from modeseek.denoisers import MixtureDenoiser
from modeseek.errors import UsageError
from modeseek.estimators import MSD
from modeseek.guidance import CFG
from modeseek.noise import karras_sigmas
from modeseek.randomness import Streams
from modeseek.samplers.product import Exact, Exponential, Grid, PosteriorMean
from modeseek.schedules import Bandwidth

DENOISER = MixtureDenoiser(mixture(), torch.tensor([0, 1, 0]))
GRID = Grid(karras_sigmas(8, 0.01, 5.0))


@pytest.mark.parametrize("h", [0.1, 0.5, 2.0])
def test_descends_the_smoothed_density(h):
    """MSD-11, MSD-6: with the posterior mean, grad = -h^2 grad log p_h(x), p_h by torch.distributions."""
    grad = MSD(DENOISER, PosteriorMean(), h)(t64(POINTS), rng=torch.Generator()).grad
    torch.testing.assert_close(grad, -(h**2) * log_density_gradient(t64(POINTS), h), rtol=0, atol=1e-10)


def test_mean_is_the_mean_shift():
    """MSD-11: x minus the mean of 4000 samples is minus the mean shift, within 5 standard errors, at every x."""
    n, h = 4000, 0.5
    msd = MSD(DENOISER, Exact(Grid(karras_sigmas(128, 0.002, 20.0))), h, n_samples=n)
    grad = msd(t64(POINTS), rng=Streams.for_batch(0, 5)).grad.numpy()
    for point, row in zip(POINTS, grad):
        mean, covariance = product_moments(mixture_pdf, point, h)
        errors = np.abs(row - (point - mean)) / np.sqrt(np.diag(covariance) / n)
        assert (errors < 5).all(), (point, errors)


def test_is_x_minus_the_samplers_y():
    """MSD-11: one sample from the streams as they come."""
    estimate = MSD(DENOISER, Exact(GRID), 0.5)(t64(POINTS), rng=Streams.for_batch(0, 5))
    y = Exact(GRID)(DENOISER, t64(POINTS), 0.5, rng=Streams.for_batch(0, 5))
    torch.testing.assert_close(estimate.target, y, rtol=0, atol=0)
    torch.testing.assert_close(estimate.grad, t64(POINTS) - y, rtol=0, atol=0)


def test_samples_are_averaged_each_from_its_own_stream():
    """MSD-11: n samples travel as one batch, with their condition's rows."""
    cond, streams = torch.tensor([0, 1, 1, 0, 0]), Streams.for_batch(0, 5)
    estimate = MSD(DENOISER, Exact(GRID), 0.5, n_samples=3)(t64(POINTS), cond, rng=streams)
    rows = t64(POINTS).repeat_interleave(3, 0)
    y = Exact(GRID)(DENOISER, rows, 0.5, cond.repeat_interleave(3), rng=Streams.for_batch(0, 5).repeat(3))
    torch.testing.assert_close(estimate.target, y.reshape(5, 3, 2).mean(1))


def test_follows_its_schedule():
    """MSD-11: the bandwidth is a function of the step, and converged says that its end is reached."""
    schedule = Bandwidth(1.0, 0.1, 11)
    msd = MSD(DENOISER, PosteriorMean(), schedule)
    for step, converged in [(0, False), (5, False), (10, True), (20, True)]:
        estimate = msd(t64(POINTS), rng=torch.Generator(), step=step)
        again = MSD(DENOISER, PosteriorMean(), schedule(step))(t64(POINTS), rng=torch.Generator())
        assert torch.equal(estimate.grad, again.grad)
        assert estimate.info["bandwidth"] == schedule(step) == msd.at(step)
        assert estimate.info["converged"] is converged
        assert again.info["converged"] is False


def test_info():
    estimate = MSD(DENOISER, PosteriorMean(), 0.5)(t64(POINTS), rng=torch.Generator())
    shift = float(estimate.grad.square().mean().sqrt())
    assert estimate.info["shift"] == pytest.approx(shift)
    assert estimate.info["relative_shift"] == pytest.approx(shift / 0.5)
    assert estimate.info["clamped"] is False


def test_says_when_a_level_is_below_the_models_smallest():
    """The exact sampler asks at levels below the bandwidth; below sigma_min the model answers for sigma_min."""
    rows = Rows(DENOISER, sigma_min=0.03)
    narrow, wide = (MSD(rows, PosteriorMean(), h)(t64(POINTS), rng=torch.Generator()) for h in (0.02, 0.5))
    assert (narrow.info["clamped"], wide.info["clamped"]) == (True, False)


def test_nfe_counts_samples_and_guidance():
    """MSD-11, MSD-13."""
    rows = Rows(DENOISER)
    msd = MSD(CFG(rows, 3.0), Exponential(GRID), 0.5, n_samples=4)
    estimate = msd(t64(POINTS), torch.tensor([0]), rng=torch.Generator())
    assert rows.rows / len(POINTS) == estimate.nfe == msd.nfe(0) == 4 * 2 * 9


def test_no_graph_goes_through_the_model():
    """MSD-11: the target is a constant; the loss's gradient is grad, and reaches what made x."""
    weights = t64(POINTS).requires_grad_()
    estimate = MSD(DENOISER, Exact(GRID), 0.5)(2 * weights, rng=Streams.for_batch(0, 5))
    assert not estimate.target.requires_grad
    estimate.loss.backward()
    torch.testing.assert_close(weights.grad, 2 * estimate.grad)


def test_leads_to_a_mode():
    """MSD-11: plain gradient descent from a schedule ends where the density's own gradient is zero."""
    density = gaussian()
    x, msd = t64(POINTS), MSD(MixtureDenoiser(density), PosteriorMean(), Bandwidth(1.0, 0.2, 60))
    for step in range(200):
        x = x - msd(x, rng=torch.Generator(), step=step).grad
    assert float(density.score(x).abs().max()) < 1e-3


@pytest.mark.parametrize("bandwidth", [0.0, -1.0, float("nan")])
def test_refuses_a_bandwidth(bandwidth):
    with pytest.raises(UsageError, match="bandwidth must be positive"):
        MSD(DENOISER, PosteriorMean(), bandwidth)


def test_refuses_no_samples():
    with pytest.raises(UsageError, match="n_samples must be at least 1, got 0"):
        MSD(DENOISER, PosteriorMean(), 0.5, n_samples=0)
