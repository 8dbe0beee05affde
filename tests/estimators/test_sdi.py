import itertools
import math
from typing import get_args

import numpy as np
import pytest
import torch
from closed_forms import MU, POINTS, C, Rows, assert_moments, gaussian, mixture, order, still, t64

from modeseek.denoisers import MixtureDenoiser
from modeseek.densities import GaussianMixture
from modeseek.errors import UsageError
from modeseek.estimators import SDI, SDS, Trains
from modeseek.guidance import CFG
from modeseek.methods import Weighting
from modeseek.noise import NoiseTable
from modeseek.randomness import Streams
from modeseek.schedules import Anneal, Uniform

TABLE = NoiseTable.vp()
SIGMAS = TABLE.sigmas.numpy()
GAUSSIAN, MIXTURE = MixtureDenoiser(gaussian()), MixtureDenoiser(mixture())


def rng() -> Streams:
    return Streams.for_batch(0, 5)


def sdi(denoiser=GAUSSIAN, time=0.5, **options):
    return SDI(denoiser, TABLE, **{"inverse": denoiser, "time": time, **options})


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
    assert sdi(time=t / 1000).nfe(0) == steps + 1
    guided = CFG(GAUSSIAN, 7.5, torch.zeros(1))
    assert SDI(guided, TABLE, inverse=guided, time=t / 1000).nfe(0) == 2 * (steps + 1)


def test_mean_cost_as_the_originals():
    """SDI-1: guided twice, about 15 evaluations a call over t in 20 ... 980."""
    estimator = SDI(GAUSSIAN, TABLE, inverse=GAUSSIAN, time=Anneal(0.98, 0.02, 961))
    assert 2 * np.mean([estimator.nfe(k) for k in range(961)]) == pytest.approx(15, abs=0.1)


def test_level_follows_the_step():
    """SDI-1."""
    estimator = sdi(time=Anneal(0.98, 0.25, 11))
    timesteps = [estimator.timesteps(rng(), 5, k) for k in (0, 5, 10, 99)]
    assert [t.tolist() for t, _ in timesteps] == [[t] * 5 for t in (980, 615, 250, 250)]
    assert all(torch.equal(t, end) for t, end in timesteps)
    infos = [estimator(t64(POINTS), rng=rng(), step=k).info for k in (0, 5, 10)]
    assert [i["sigma"] for i in infos] == pytest.approx([SIGMAS[980], SIGMAS[615], SIGMAS[250]])
    assert [i["converged"] for i in infos] == [False, False, True]
    assert sdi()(t64(POINTS), rng=rng()).info["converged"] is False


# -- the public implementation's pairing and noise ---------------------------------------------------------------------

ABAR = 1 / (1 + SIGMAS**2)


def native(z_vp: np.ndarray, t: np.ndarray) -> np.ndarray:
    """A noise-predicting network in VP coordinates, the ideal one of N(MU, C): e(z_vp, t), t one per row."""
    a, s = np.sqrt(ABAR[t]), np.sqrt(1 - ABAR[t])
    rows = zip(a, s, z_vp, strict=True)
    return np.stack([si * np.linalg.solve(ai**2 * C + si**2 * np.eye(2), z - ai * MU) for ai, si, z in rows])


def public(x: np.ndarray, t: int, u: np.ndarray, noises: list[np.ndarray], eta: float) -> np.ndarray:
    """The target as the public code computes it, row by row in VP coordinates, from the level of timestep 0 on."""
    end = np.minimum(t + np.floor(u * 1000 / 10).astype(int), 999)
    path = [np.zeros(5, int), *(np.full(5, g) for g in range(1, t, 100)), end]
    z = np.sqrt(ABAR[0]) * x
    for (p, q), n in zip(itertools.pairwise(path), noises, strict=True):
        e = native(z, p)
        ab_p, ab_q = ABAR[p][:, None], ABAR[q][:, None]
        x0 = (z - np.sqrt(1 - ab_p) * e) / np.sqrt(ab_p)
        variance = (1 - ab_p) / (1 - ab_q) * (1 - ab_q / ab_p)
        z = np.sqrt(ab_q) * x0 + np.sqrt(1 - ab_q) * e + eta * np.sqrt(variance) * n
    at = np.full(5, t)
    return (z - np.sqrt(1 - ABAR[t]) * native(z, at)) / np.sqrt(ABAR[t])


@pytest.mark.parametrize("t", [20, 500, 980])
@pytest.mark.parametrize("eta", [0.0, 0.3])
def test_public_pairing_and_noise_in_vp_coordinates(t, eta):
    """SDI-2, SDI-3: z inverted to t + d and shown to the network at t; noise on top of the whole step."""
    streams = rng()
    u = streams.uniform((5,)).numpy()
    steps = len(range(1, t, 100)) + 1
    noises = [streams.normal((5, 2)).double().numpy() if eta else np.zeros((5, 2)) for _ in range(steps)]
    estimator = sdi(time=t / 1000, pairing="public", fresh="added", eta=eta)
    estimate = estimator(t64(POINTS), rng=rng())
    expected = public(POINTS, t, u, noises, eta)
    np.testing.assert_allclose(estimate.target.numpy(), expected, rtol=1e-9, atol=1e-9)
    assert estimate.nfe == estimator.nfe(0) == steps + 1


def test_the_pairings_differ_by_the_shrinking_of_the_signal():
    """SDI-2: a point on sharp data is kept by the one and shrunk by a_{t+d} / a_t by the other, 0.65 to 1."""
    far = Rows(lambda z, sigma, cond: z)
    seen = {}
    for pairing in ("remapped", "public"):
        sdi(far, time=0.5, pairing=pairing, eta=0.0)(t64(POINTS[1:]), rng=Streams.for_batch(0, 4))
        seen[pairing] = far.seen[-1]  # what does not move on the way up
    d = np.floor(Streams.for_batch(0, 4).uniform((4,)).numpy() * 100).astype(int)
    ratio = np.sqrt(ABAR[500 + d] / ABAR[500])[:, None]
    np.testing.assert_allclose((seen["public"] / seen["remapped"]).numpy(), np.broadcast_to(ratio, (4, 2)), rtol=1e-12)
    assert 0.65 <= ratio.min() <= ratio.max() <= 1


def test_the_public_inversion_ends_beyond_t():
    """SDI-2: t = 500, u = 0.5 gives 1, 101, ..., 401, 550; from our start, where the original asks timestep -99."""
    grid = sdi(pairing="public").grid(torch.tensor([500]), torch.tensor([550]))
    np.testing.assert_allclose(grid[:, 0].numpy(), [SIGMAS[0], *SIGMAS[[1, 101, 201, 301, 401, 550]]])
    ends = [sdi(time=0.98, pairing="public").timesteps(Streams(k), 1, 0)[1].item() for k in range(200)]
    assert max(ends) == 999  # capped: of d up to 99, four in five would be beyond
    assert min(ends) >= 980
    assert ends.count(999) > 100


def test_only_exchanged_noise_keeps_unit_noise():
    """SDI-3: added noise is too much by what is not taken off the step: unit noise becomes more than unit noise."""
    n, model = 20_000, Rows(still)
    variance = {}
    for fresh in ("exchanged", "added"):
        told = {"eta": 1.0, "sigma_start": 0.0 if fresh == "exchanged" else None, "fresh": fresh}
        sdi(model, **told)(t64(POINTS[1]).expand(n, 2), rng=Streams.for_batch(0, n))
        variance[fresh] = float(model.seen[-1].var(0).mean()) / SIGMAS[500] ** 2
    assert variance["exchanged"] == pytest.approx(1, abs=5 * math.sqrt(2 / n))
    path = np.array(LEVELS)
    scale = (path[:-1] / path[1:]) ** 2 * (1 + path[1:] ** 2) / (1 + path[:-1] ** 2)
    expected = float((scale * (path[1:] ** 2 - path[:-1] ** 2)).sum()) / SIGMAS[500] ** 2
    assert variance["added"] == pytest.approx(expected, rel=5 * math.sqrt(2 / n))


# -- times and weights -------------------------------------------------------------------------------------------------

UNUSUAL = [
    {"time": Uniform(0.02, 0.98)},
    {"pairing": "public"},
    {"pairing": "public", "fresh": "added", "time": Uniform(0.02, 0.98)},
    {"weighting": "sigma2", "time": Uniform(0.02, 0.98), "max_eps": 1.0},
    {"time": Uniform(0.02, 0.98), "sigma_start": 0.5},
]


@pytest.mark.parametrize("options", UNUSUAL)
def test_a_batch_is_its_rows_one_by_one(options):
    """SDI-1, SDI-2: though each sample has its own way up, of its own length."""
    together = sdi(MIXTURE, **options)(t64(POINTS), rng=rng())
    alone = [sdi(MIXTURE, **options)(t64(POINTS[k : k + 1]), rng=Streams(0, [k])) for k in range(5)]
    torch.testing.assert_close(together.grad, torch.cat([e.grad for e in alone]), rtol=1e-11, atol=1e-11)
    assert together.nfe == max(e.nfe for e in alone)  # who has arrived waits
    assert together.nfe <= sdi(MIXTURE, **options).nfe(0)
    assert together.info["sigma"] == pytest.approx(np.mean([e.info["sigma"] for e in alone]))


def test_drawn_times_are_each_samples_own():
    """SDI-1, TIME-2."""
    t, end = sdi(time=Uniform(0.1, 0.9)).timesteps(Streams.for_batch(0, 1000), 1000, 0)
    assert len(t.unique()) > 500
    assert 100 <= int(t.min()) < 105
    assert 895 < int(t.max()) <= 900
    assert torch.equal(t, end)


@pytest.mark.parametrize("weighting", get_args(Weighting))
def test_weights_as_those_of_sds(weighting):
    """SDI-1, SDS-3: grad = (w / sigma) (x - D), which with drawn noise is SDS's w (eps_hat - eps)."""
    x, sigma = t64(POINTS), float(SIGMAS[500])
    target = sdi(MIXTURE, eta=0.0)(x, rng=rng()).target
    grad = sdi(MIXTURE, eta=0.0, weighting=weighting)(x, rng=rng()).grad
    w = {"sigma2": sigma**2 / (1 + sigma**2), "uniform": 1.0, "x0": sigma}
    w["fantasia3d"] = w["sigma2"] / math.sqrt(1 + sigma**2)
    torch.testing.assert_close(grad, w[weighting] / sigma * (x - target))


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
    estimator = sdi(MIXTURE, time=level, sigma_start=0.9)
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
        ({"pairing": "threestudio"}, "pairing must be remapped or public, fresh .*, got 'threestudio' and 'exchanged'"),
        ({"fresh": "none"}, "fresh exchanged or added, got 'remapped' and 'none'"),
        ({"weighting": "snr"}, "weighting must be sigma2, uniform, fantasia3d or x0, got 'snr'"),
        ({"time": 1.1}, "a time range must satisfy"),
        ({"time": math.nan}, "a time range must satisfy"),
    ],
)
def test_refuses(options, says):
    with pytest.raises(UsageError, match=says):
        sdi(**options)
