import numpy as np
import pytest
import torch
from closed_forms import MU, POINTS, C, Rows, gaussian, mixture, t64

from modeseek.denoisers import MixtureDenoiser
from modeseek.errors import UsageError
from modeseek.estimators import SDS
from modeseek.guidance import CFG, LimitedInterval
from modeseek.noise import NoiseTable
from modeseek.randomness import Streams
from modeseek.schedules import Anneal, Uniform

TABLE = NoiseTable.vp()
GAUSSIAN = MixtureDenoiser(gaussian())


def closed_form(x: np.ndarray, sigma: float) -> np.ndarray:
    """Mean at one level on N(MU, C): w sigma (C + sigma^2 I)^-1 (x - MU), w = sigma^2 / (1 + sigma^2)."""
    w = sigma**2 / (1 + sigma**2)
    return w * sigma * np.linalg.solve(C + sigma**2 * np.eye(2), (x - MU).T).T


@pytest.mark.parametrize("sigma", [0.03, 0.5, 14.0])
def test_mean_at_one_level_on_a_gaussian(sigma):
    """SDS-1: exactly, since opposite noises average a linear map."""
    x, levels = t64(POINTS), torch.full((5,), sigma, dtype=torch.float64)
    eps = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sds = SDS(GAUSSIAN, TABLE)
    mean = 0.5 * (sds.gradient(x, None, eps, levels) + sds.gradient(x, None, -eps, levels))
    np.testing.assert_allclose(mean.numpy(), closed_form(POINTS, sigma), rtol=0, atol=1e-11)


def test_mean_over_the_time_range_on_a_gaussian():
    """SDS-1: within 5 standard errors of the mean over timesteps 20 ... 980, both included."""
    n, point = 20_000, POINTS[3]
    expected = np.mean([closed_form(point[None], float(s))[0] for s in TABLE.sigmas[20:981]], axis=0)
    grad = SDS(GAUSSIAN, TABLE)(t64(point).expand(n, 2), rng=Streams.for_batch(0, n)).grad
    errors = (grad.mean(0).numpy() - expected) / (grad.std(0).numpy() / np.sqrt(n))
    assert (np.abs(errors) < 5).all(), errors
    assert (np.abs(expected) > 10 * grad.std(0).numpy() / np.sqrt(n)).all()  # so that a missing term would show


def test_core_is_the_formula():
    """SDS-1: w (eps_hat - eps), one level for each sample, eps_hat by the score of the noised mixture."""
    x, sigma = t64(POINTS), t64([0.05, 0.2, 0.5, 1.0, 5.0])
    eps = t64(POINTS[::-1].copy())
    z = x + sigma[:, None] * eps
    eps_hat = -sigma[:, None] * mixture().score(z, sigma)
    w = (sigma**2 / (1 + sigma**2))[:, None]
    denoiser = MixtureDenoiser(mixture())
    torch.testing.assert_close(SDS(denoiser, TABLE).gradient(x, None, eps, sigma), w * (eps_hat - eps))
    uniform = SDS(denoiser, TABLE, weighting="uniform")
    torch.testing.assert_close(uniform.gradient(x, None, eps, sigma), eps_hat - eps)


def test_weight_is_the_noises_share_of_variance():
    """SDS-1: w = s^2 = 1 - abar of the timestep (DreamFusion)."""
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    np.testing.assert_allclose(SDS(GAUSSIAN, TABLE).weight(TABLE.sigmas).numpy(), 1 - np.cumprod(1 - betas), rtol=1e-10)


def test_time_range_includes_its_ends():
    """SDS-1: every timestep of the range is drawn, about as often as any other."""
    n, rows = 20_000, Rows(GAUSSIAN)
    small = NoiseTable(TABLE.sigmas[::100])
    SDS(rows, small, time_range=(0.2, 0.7))(torch.zeros(n, 2, dtype=torch.float64), rng=Streams.for_batch(0, n))
    levels, counts = rows.levels[0].unique(return_counts=True)
    torch.testing.assert_close(levels, small.sigmas[2:8])
    assert float((counts - n / 6).abs().max()) < 5 * (n / 6) ** 0.5


def test_each_sample_has_its_own_timestep():
    """SDS-1: drawn from its stream, whatever the batch."""
    rows = Rows(GAUSSIAN)
    sds = SDS(rows, TABLE)
    sds(t64(POINTS), rng=Streams.for_batch(0, 5))
    sds(t64(POINTS[3:4]), rng=Streams(0, [3]))
    together, alone = rows.levels
    assert len(together.unique()) == 5
    assert torch.equal(together[3:4], alone)
    assert bool(torch.isin(together, TABLE.sigmas[20:981]).all())


def test_one_level_alone():
    """SDS-1: a range of one timestep."""
    rows = Rows(GAUSSIAN)
    SDS(rows, TABLE, time_range=(0.5, 0.5))(t64(POINTS), rng=Streams.for_batch(0, 5))
    assert torch.equal(rows.levels[0], TABLE.sigmas[500].expand(5))


def test_the_time_range_is_short_for_a_uniform_time():
    """SDS-1: and DreamFusion's is the default."""
    streams = Streams.for_batch(0, 5)
    for short, time in (({"time_range": (0.1, 0.5)}, Uniform(0.1, 0.5)), ({}, Uniform(0.02, 0.98))):
        first, second = SDS(GAUSSIAN, TABLE, **short), SDS(GAUSSIAN, TABLE, time=time)
        assert torch.equal(first(t64(POINTS), rng=streams.at(1)).grad, second(t64(POINTS), rng=streams.at(1)).grad)


@pytest.mark.parametrize("shape", ["linear", "sqrt"])
def test_an_annealed_time_is_the_same_for_all_and_falls(shape):
    """SDS-1, TIME-1: HiFA's t = floor(1000 ((max - min) (1 - sqrt(k / K)) + min))."""
    rows, k = Rows(GAUSSIAN), 7  # so that no time between the ends is a whole timestep, to be rounded either way
    sds = SDS(rows, TABLE, time=Anneal(0.98, 0.02, k + 1, shape))
    done = [sds(t64(POINTS), rng=Streams.for_batch(0, 5), step=step).info["converged"] for step in range(k + 1)]
    u = np.sqrt(np.arange(k + 1) / k) if shape == "sqrt" else np.arange(k + 1) / k
    expected = np.floor(1000 * (0.96 * (1 - u) + 0.02) + 1e-9).astype(int)
    torch.testing.assert_close(torch.stack(rows.levels), TABLE.sigmas[expected][:, None].expand(-1, 5))
    assert done == [False] * k + [True]


def test_the_upper_end_drops_at_its_step():
    """SDS-1, TIME-2: ProlificDreamer's second stage; what is claimed follows."""
    limited = LimitedInterval(CFG(GAUSSIAN, 7.5), GAUSSIAN, float(TABLE.sigmas[600]), 100.0)
    sds = SDS(limited, TABLE, time=Uniform(0.02, 0.98, drop=(3, 0.5)))
    x = torch.zeros(500, 2, dtype=torch.float64)
    for step, most in ((2, 980), (3, 500)):
        levels = sds.levels(Streams.for_batch(0, 500), 500, step)
        assert TABLE.sigmas[most - 30] < float(levels.max()) <= TABLE.sigmas[most]
        assert sds(x, rng=Streams.for_batch(0, 500), step=step).info["sigma"] == pytest.approx(float(levels.mean()))
    assert (sds.nfe(2), sds.nfe(3)) == (2, 1)


def test_weights():
    """SDS-1, SDS-3: each weighting times the uniform gradient; x0's is x - x0."""
    x, sigma, eps = t64(POINTS), t64([0.05, 0.2, 0.5, 1.0, 5.0]), t64(POINTS[::-1].copy())
    plain = SDS(GAUSSIAN, TABLE, weighting="uniform").gradient(x, None, eps, sigma)
    abar = (1 / (1 + sigma**2))[:, None]
    fantasia = SDS(GAUSSIAN, TABLE, weighting="fantasia3d").gradient(x, None, eps, sigma)
    torch.testing.assert_close(fantasia, abar.sqrt() * (1 - abar) * plain)
    x0 = GAUSSIAN(x + sigma[:, None] * eps, sigma)
    torch.testing.assert_close(SDS(GAUSSIAN, TABLE, weighting="x0").gradient(x, None, eps, sigma), x - x0)


def test_info():
    estimate = SDS(GAUSSIAN, TABLE, time_range=(0.5, 0.5))(t64(POINTS), rng=Streams.for_batch(0, 5))
    assert estimate.info["sigma"] == pytest.approx(float(TABLE.sigmas[500]))
    assert estimate.info["shift"] == pytest.approx(float(estimate.grad.square().mean().sqrt()))
    assert estimate.info["converged"] is False


def test_refuses():
    with pytest.raises(UsageError, match="weighting must be sigma2, uniform, fantasia3d or x0, got 'snr'"):
        SDS(GAUSSIAN, TABLE, weighting="snr")
    with pytest.raises(UsageError, match="time range"):
        SDS(GAUSSIAN, TABLE, time_range=(0.9, 0.1))
    with pytest.raises(UsageError, match="either time or time_range must be given"):
        SDS(GAUSSIAN, TABLE, time=0.5, time_range=(0.1, 0.9))
