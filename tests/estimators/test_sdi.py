import itertools
import math

import numpy as np
import pytest
import torch
from closed_forms import MU, POINTS, C, Rows, assert_moments, gaussian, mixture, order, still, t64

from modeseek.denoisers import MixtureDenoiser
from modeseek.densities import GaussianMixture
from modeseek.errors import UsageError
from modeseek.estimators import SDI, SDS, Trains
from modeseek.guidance import CFG
from modeseek.noise import NoiseTable
from modeseek.randomness import Streams
from modeseek.schedules import Anneal

TABLE = NoiseTable.vp()
SIGMAS = TABLE.sigmas.numpy()
GAUSSIAN, MIXTURE = MixtureDenoiser(gaussian()), MixtureDenoiser(mixture())


def rng() -> Streams:
    return Streams.for_batch(0, 5)


def sdi(denoiser=GAUSSIAN, level=0.5, **options):
    return SDI(denoiser, TABLE, **{"inverse": denoiser, "level": level, **options})


def resolvent(sigma: float) -> np.ndarray:
    """(C + sigma^2 I)^-1: on N(MU, C), eps_hat = sigma (C + sigma^2 I)^-1 (z - MU) and D = z - sigma eps_hat."""
    return np.linalg.inv(C + sigma**2 * np.eye(2))


def inverted(eta: float, levels: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """On N(MU, C): the linear map of x - MU up the rising levels, and the covariance of the noise added on the way."""
    gain, covariance = np.eye(2), np.zeros((2, 2))
    for s, s_next in itertools.pairwise(levels):
        up2 = eta**2 * (s_next**2 - s**2)
        step = np.eye(2) + (np.sqrt(s_next**2 - up2) - s) * s * resolvent(s)
        gain, covariance = step @ gain, step @ covariance @ step.T + up2 * np.eye(2)
    return gain, covariance


# timestep 500 of the original: from its smallest level over 1, 101, ..., 401 to 500
LEVELS = [SIGMAS[0], *SIGMAS[[1, 101, 201, 301, 401, 500]]]


def test_on_a_gaussian():
    """SDI-1: inversion and denoising are linear maps there."""
    gain, _ = inverted(0.0, LEVELS)
    denoised = (C @ resolvent(LEVELS[-1]) @ gain @ (POINTS - MU).T).T
    grad = sdi(eta=0.0)(t64(POINTS), rng=rng()).grad
    np.testing.assert_allclose(grad.numpy(), POINTS - MU - denoised, rtol=0, atol=1e-11)


def test_moments_on_a_gaussian():
    """SDI-1 with fresh noise: mean and covariance of the target."""
    n, point = 20_000, POINTS[3]
    gain, covariance = inverted(0.6, LEVELS)
    shrink = C @ resolvent(LEVELS[-1])
    target = sdi(eta=0.6)(t64(point).expand(n, 2), rng=Streams.for_batch(0, n)).target
    assert_moments(target, MU + shrink @ gain @ (point - MU), shrink @ covariance @ shrink.T)


def test_limit_of_many_steps_on_a_gaussian():
    """SDI-1: grad tends to ``(I - C ((C + sigma^2 I)(C + start^2 I))^-1/2) (x - mu)``, at first order."""
    values, vectors = np.linalg.eigh(C)
    kept = values / np.sqrt((values + LEVELS[-1] ** 2) * (values + LEVELS[0] ** 2))
    limit = (POINTS - MU) @ vectors @ np.diag(1 - kept) @ vectors.T
    steps = (25, 50, 100, 200)
    errors = [float((sdi(eta=0.0, inversion_steps=n)(t64(POINTS), rng=rng()).grad - t64(limit)).norm()) for n in steps]
    assert 0.8 <= order(errors, steps) <= 1.3, errors
    assert errors[-1] < 0.02 * np.linalg.norm(limit)


def test_is_sds_in_target_form_with_the_noise_replaced():
    """SDI-1: with drawn noise, x - D = sigma (eps_hat - eps), SDS's gradient times sigma / w."""
    x, sigma, eps = t64(POINTS), 0.7, t64(POINTS[::-1].copy())
    sds = SDS(MIXTURE, TABLE, weighting="uniform").gradient(x, None, eps, torch.full((5,), sigma, dtype=torch.float64))
    torch.testing.assert_close(x - SDI.target(MIXTURE, x, None, eps, sigma), sigma * sds)


def test_all_noise_fresh_is_sds():
    """SDI-1: with eta 1 and from level 0, z* = x + sigma eps with unit noise, whatever the model."""
    n, model = 20_000, Rows(still)
    sdi(model, eta=1.0, sigma_start=0.0)(t64(POINTS[1]).expand(n, 2), rng=Streams.for_batch(0, n))
    assert_moments(model.seen[-1], POINTS[1], SIGMAS[500] ** 2 * np.eye(2))


def test_the_model_is_asked_at_the_end_of_the_inversion():
    """SDI-1: levels and order of the calls; guidance of the inversion is its own."""
    plain, guided = Rows(MIXTURE), Rows(CFG(MIXTURE, 1.0))
    estimate = sdi(guided, inverse=plain)(t64(POINTS), rng=rng())
    assert plain.levels == pytest.approx(LEVELS[:-1])
    assert guided.levels == pytest.approx(LEVELS[-1:])
    assert estimate.nfe == 7
    assert estimate.info["sigma"] == pytest.approx(LEVELS[-1])
    noise = float((guided.seen[0] - t64(POINTS)).square().mean().sqrt()) / LEVELS[-1]
    assert estimate.info["noise"] == pytest.approx(noise)


@pytest.mark.parametrize(("t", "steps"), [(1, 1), (2, 2), (20, 2), (101, 2), (102, 3), (500, 6), (902, 11), (980, 11)])
def test_evaluations_as_the_originals(t, steps):
    """SDI-1: 2 to 11 inversion steps; the timesteps 1, 101, ..., 901 below t, and t."""
    assert sdi(level=t / 1000).nfe(0) == steps + 1
    guided = CFG(GAUSSIAN, 7.5, torch.zeros(1))
    assert SDI(guided, TABLE, inverse=guided, level=t / 1000).nfe(0) == 2 * (steps + 1)


def test_mean_cost_as_the_originals():
    """SDI-1: guided twice, about 15 evaluations a call over t in 20 ... 980."""
    estimator = SDI(GAUSSIAN, TABLE, inverse=GAUSSIAN, level=Anneal(0.98, 0.02, 961))
    assert 2 * np.mean([estimator.nfe(k) for k in range(961)]) == pytest.approx(15, abs=0.1)


def test_level_follows_the_step():
    """SDI-1."""
    estimator = sdi(level=Anneal(0.98, 0.25, 11))
    assert [estimator.timestep(k) for k in (0, 5, 10, 99)] == [980, 615, 250, 250]
    infos = [estimator(t64(POINTS), rng=rng(), step=k).info for k in (0, 9, 10)]
    assert [i["sigma"] for i in infos] == pytest.approx([SIGMAS[980], SIGMAS[estimator.timestep(9)], SIGMAS[250]])
    assert [i["converged"] for i in infos] == [False, False, True]
    assert sdi()(t64(POINTS), rng=rng()).info["converged"] is False


# -- a sharp denoiser, off the data: atlas 2.4 -------------------------------------------------------------------------

POINT = MixtureDenoiser(GaussianMixture.isotropic(torch.zeros(1, 2, dtype=torch.float64), 1e-9))


@pytest.mark.parametrize("start", [0.05, 0.2, 1.0])
def test_inversion_multiplies_the_distance_to_sharp_data(start):
    """SDI-1: by sigma / sigma_start, which is why sigma_start is an argument."""
    model = Rows(POINT)
    sdi(model, eta=0.0, sigma_start=start)(t64(POINTS), rng=rng())
    torch.testing.assert_close(model.seen[-1], t64(POINTS) * SIGMAS[500] / start, rtol=1e-6, atol=0)


def test_cap_keeps_the_inversion_on_the_shell():
    """SDI-1: with max_eps 1 the inversion moves by sigma - start at most, root mean square."""
    far = 100 * t64(POINTS[1:])
    for cap, expected in ((math.inf, 10.0), (1.0, 1.0)):
        estimate = sdi(POINT, eta=0.0, max_eps=cap)(far, rng=rng())
        limit = 1 - TABLE.sigma_min / SIGMAS[500]
        if cap == 1.0:
            assert estimate.info["noise"] == pytest.approx(expected * limit)
        else:
            assert estimate.info["noise"] > 1000


@pytest.mark.parametrize("level", [0.1, 0.2])
def test_below_the_start_nothing_is_inverted(level):
    """SDI-1: z* = x, so that grad is minus the mean shift, x - D(x; sigma), in one evaluation."""
    sigma = float(SIGMAS[round(1000 * level)])
    estimator = sdi(MIXTURE, level=level, sigma_start=0.9)
    estimate = estimator(t64(POINTS), rng=rng())
    torch.testing.assert_close(estimate.grad, -(sigma**2) * mixture().score(t64(POINTS), sigma))
    assert (estimate.nfe, estimator.nfe(0), estimate.info["noise"]) == (1, 1, 0.0)


def test_an_inversion_hardly_above_its_start_is_hardly_one():
    """SDI-1: the two cases meet."""
    sigma = float(SIGMAS[500])
    below, above = (sdi(MIXTURE, sigma_start=sigma * f, eta=0.0)(t64(POINTS), rng=rng()).grad for f in (1.0, 1 - 1e-9))
    torch.testing.assert_close(below, above, rtol=0, atol=1e-7)


def test_says_where_a_level_is_below_the_models():
    model = Rows(GAUSSIAN, sigma_min=0.1)
    assert sdi(model)(t64(POINTS), rng=rng()).info["clamped"] is True
    assert sdi(model, sigma_start=0.1)(t64(POINTS), rng=rng()).info["clamped"] is False


def test_trains_nothing():
    assert not isinstance(sdi(), Trains)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"inversion_steps": 0}, "inversion_steps must be between 1 and 1000, got 0"),
        ({"inversion_steps": 1001}, "inversion_steps must be between 1 and 1000, got 1001"),
        ({"eta": -0.1}, r"eta must be in \[0, 1\], got -0.1"),
        ({"eta": math.nan}, r"eta must be in \[0, 1\], got nan"),
        ({"sigma_start": -1.0}, "sigma_start must be finite and at least 0, got -1.0"),
        ({"sigma_start": math.inf}, "sigma_start must be finite and at least 0, got inf"),
        ({"max_eps": 0.0}, "max_eps must be positive, got 0.0"),
        ({"level": 1.1}, "a time range must satisfy"),
        ({"level": math.nan}, "a time range must satisfy"),
    ],
)
def test_refuses(options, says):
    with pytest.raises(UsageError, match=says):
        sdi(**options)
