"""Efficiency of estimators whose bias and variance are known."""

from dataclasses import astuple

import numpy as np
import pytest
import torch
from closed_forms import t64
from scipy.special import digamma, polygamma

from modeseek.errors import UsageError
from modeseek.metrics import Efficiency, efficiency

NUMBERS = ("log_own", "log_true", "pooled", "relative_bias", "relative_bias_raw", "relative_std", "cosine")


def noise(points, n, dim, seed):
    return torch.randn(points, n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def truths(points, dim=2, seed=9):
    """Of length 1 to 3."""
    t = noise(1, points, dim, seed)[0]
    return t / t.norm(dim=1, keepdim=True) * torch.linspace(1, 3, points, dtype=torch.float64)[:, None]


def turned(t, angle):
    c, s = np.cos(angle), np.sin(angle)
    return t @ t64([[c, -s], [s, c]])


def numbers(e: Efficiency):
    return np.array([getattr(e, name) for name in NUMBERS])


def test_of_a_gaussian_estimator_with_known_bias_and_variance():
    """MSD-17: draws a R t + std eps, R a rotation by an angle: every number in closed form, within five of its errors.

    The best factor is cos / a; what is missed is sin |t|; the scaled noise has variance D (std cos / a)^2.
    """
    points, n, a, angle, std, cost = 64, 4000, 2.5, 0.4, 1.5, 3.0
    t = truths(points)
    e = efficiency(a * turned(t, angle)[:, None] + std * noise(points, n, 2, 0), t, cost)
    size, scale, variance = t.square().sum(1), np.cos(angle) / a, 2 * std**2
    mse = scale**2 * variance + np.sin(angle) ** 2 * size
    # one draw's noise over the length of a mean, over all points and draws: the relative error of whatever is averaged
    error = std / (a * float(t.norm(dim=1).min()) * (points * n) ** 0.5)
    assert abs(e.log_own - float((a**2 * size / (variance * cost)).log().mean())) < 5 * 3 * error
    assert abs(e.log_true - float((size / (mse * cost)).log().mean())) < 5 * 3 * error
    assert abs(e.pooled - np.log(a**2 * float(size.sum()) / (points * variance * cost))) < 5 * 3 * error
    assert abs(e.scale - scale) < 5 * scale * error
    assert abs(e.relative_bias - np.sin(angle)) < 5 * error
    assert abs(e.relative_std - scale * (points * variance / float(size.sum())) ** 0.5) < 5 * error
    assert abs(e.cosine - np.cos(angle)) < 5 * error
    assert abs(e.resolution / (n * a**2 * float(size.sum()) / (points * variance)) - 1) < 5 * 3 * error
    assert (e.infinite_own, e.infinite_true) == (0, 0)


def test_an_estimator_right_up_to_a_factor_has_one_efficiency():
    """MSD-17: log_true is log_own then, up to the errors of both in N draws."""
    t = truths(50)
    e = efficiency((-40 * t)[:, None] + 30 * noise(50, 5000, 2, 1), -t, cost=2)
    assert e.scale == pytest.approx(1 / 40, rel=1e-2)
    assert e.log_true == pytest.approx(e.log_own, abs=5 * (30 / 40) * (50 * 5000) ** -0.5 + 1e-3)
    assert e.relative_bias < 0.01


@pytest.mark.parametrize("factor", [1e-6, 7.0, -3.0])
def test_the_scale_of_the_estimator_does_not_matter(factor):
    """MSD-17: nor a rotation of everything; ``scale`` undoes the factor."""
    t = truths(20)
    draws = turned(t, 0.3)[:, None] + 2 * noise(20, 50, 2, 2)
    e, scaled = efficiency(draws, t, 4), efficiency(factor * draws, t, 4)
    np.testing.assert_allclose(numbers(scaled)[:-1], numbers(e)[:-1], rtol=1e-9)
    assert scaled.cosine == pytest.approx(np.sign(factor) * e.cosine, rel=1e-9)
    assert scaled.scale * factor == pytest.approx(e.scale, rel=1e-9)
    np.testing.assert_allclose(numbers(efficiency(turned(draws, 1.0), turned(t, 1.0), 4)), numbers(e), rtol=1e-9)


def test_the_order_of_points_and_draws_does_not_matter():
    """MSD-17; and each point has its own entry."""
    t = truths(20)
    draws = t[:, None] + 2 * noise(20, 50, 2, 3)
    e = efficiency(draws, t, 1)
    order, rng = torch.randperm(20, generator=torch.Generator().manual_seed(0)), np.random.default_rng(0)
    shuffled = torch.stack([d[torch.as_tensor(rng.permutation(50))] for d in draws])
    mixed = efficiency(shuffled[order], t[order], 1)
    np.testing.assert_allclose(numbers(mixed), numbers(e), rtol=1e-9)
    for name in ("own", "true", "cosines"):
        torch.testing.assert_close(getattr(mixed, name), getattr(e, name)[order], rtol=1e-9, atol=1e-12)


def test_cost_is_a_shift():
    """MSD-17: of all four logarithms by ln of it."""
    t = truths(10)
    draws = t[:, None] + noise(10, 30, 2, 4)
    one, ten = efficiency(draws, t, 1), efficiency(draws, t, 10)
    for name in ("log_own", "log_true", "pooled", "floor"):
        assert getattr(one, name) - getattr(ten, name) == pytest.approx(np.log(10), rel=1e-12)


def test_a_mean_of_draws_is_as_efficient_as_one():
    """MSD-17: about its own mean; against the truth a biased one is less efficient, as the closed form says."""
    points, n, group = 40, 8000, 8
    t = truths(points)
    draws = turned(t, 0.5)[:, None] + 2 * noise(points, n, 2, 5)
    one = efficiency(draws, t, 1)
    mean = efficiency(draws.reshape(points, n // group, group, 2).mean(2), t, group)
    error = (2 / (points * n / group)) ** 0.5  # of a variance from so many draws
    assert abs(mean.log_own - one.log_own) < 5 * error
    size, noise_left = t.square().sum(1), 2 * (2 * np.cos(0.5)) ** 2 / group
    expected = float((size / ((noise_left + np.sin(0.5) ** 2 * size) * group)).log().mean())
    assert abs(mean.log_true - expected) < 5 * error
    assert mean.log_true < one.log_true - 10 * error


@pytest.mark.parametrize("dim", [2, 5])
def test_pure_noise_scores_the_floor(dim):
    """MSD-17: -ln(N cost) + psi(D/2) - ln(D/2): a noisy estimator scores at least this whatever its signal."""
    points, n = 4000, 40
    e = efficiency(noise(points, n, dim, 6), truths(points, dim), 2)
    error = (polygamma(1, dim / 2) / points) ** 0.5
    assert e.floor == pytest.approx(-np.log(n * 2) + digamma(dim / 2) - np.log(dim / 2), rel=1e-12)
    assert abs(e.log_own - e.floor) < 5 * error + 1 / (n * dim)  # the last: E ln of the estimated variance
    assert abs(e.resolution - 1) < 5 * (2 / (points * dim)) ** 0.5


def test_pooled_sees_below_the_floor():
    """MSD-17: signal a tenth of the sampling error: log_own sits at the floor, pooled finds it."""
    points, n, std = 2000, 100, 30.0
    t = truths(points)
    e = efficiency(t[:, None] + std * noise(points, n, 2, 7), t, 1)
    truth = np.log(float(t.square().sum()) / (points * 2 * std**2))
    sampling = (2 / (points * 2)) ** 0.5 * (2 * std**2 / n) / float(t.square().sum(1).mean())
    assert truth < e.floor - 0.5
    assert e.log_own > e.floor - 0.1
    assert abs(e.pooled - truth) < 5 * 2 * sampling


def test_the_bias_does_not_contain_the_error_of_the_mean():
    """MSD-17: ten noisy draws each, the square over many repetitions within five standard errors; raw is far off."""
    points, n, angle, std = 300, 10, 0.3, 2.0
    t = truths(points)
    results = [efficiency(turned(t, angle)[:, None] + std * noise(points, n, 2, s), t, 1) for s in range(40)]
    corrected = np.array([e.relative_bias**2 for e in results])
    assert abs(corrected.mean() - np.sin(angle) ** 2) < 5 * corrected.std() / 40**0.5
    added = np.cos(angle) ** 2 * points * 2 * std**2 / n / float(t.square().sum())
    raw = np.array([e.relative_bias_raw**2 for e in results])
    assert abs(raw.mean() - np.sin(angle) ** 2 - added) < 5 * raw.std() / 40**0.5
    assert raw.mean() > 1.5 * corrected.mean()


def test_without_noise():
    """MSD-17: inf about its own mean; against the truth bias alone; inf there too if it is right."""
    t = truths(30)
    exact = efficiency((3 * t)[:, None].expand(-1, 2, -1), t, 1)
    assert (exact.log_own, exact.infinite_own, exact.resolution) == (np.inf, 30, np.inf)
    assert exact.scale == pytest.approx(1 / 3, rel=1e-14)
    assert exact.relative_std == 0
    assert exact.relative_bias < 1e-14
    power_of_two = efficiency((4 * t)[:, None].expand(-1, 1000, -1), t, 1)
    assert (power_of_two.log_true, power_of_two.infinite_true, power_of_two.relative_bias) == (np.inf, 30, 0)
    biased = efficiency(turned(t, 0.2)[:, None].expand(-1, 2, -1), t, 5)
    assert biased.log_true == pytest.approx(-np.log(np.sin(0.2) ** 2 * 5), rel=1e-9)
    assert biased.relative_bias == pytest.approx(np.sin(0.2), rel=1e-12)
    assert biased.relative_bias == biased.relative_bias_raw


def test_points_without_signal_are_counted():
    """MSD-17: a true gradient of zero counts -inf, one point without noise +inf; the rest stays readable."""
    t = truths(6)
    t[0] = 0
    draws = t[:, None] + noise(6, 20, 2, 8)
    draws[3] = 2 * t[3]
    e = efficiency(draws, t, 1)
    assert (e.log_true, e.infinite_true) == (-np.inf, 1)
    assert (e.log_own, e.infinite_own) == (np.inf, 1)
    assert e.own.isinf().nonzero().tolist() == [[3]]
    assert e.true.isinf().nonzero().tolist() == [[0]]
    assert e.cosines[0] == 0


def test_what_does_not_stand_out_of_the_noise_has_no_scale():
    """MSD-17: NaN, and resolution says why."""
    half = noise(5, 50, 2, 9)
    draws = torch.cat([half, -half], 1) + 1e-3  # far below the sampling error of the mean
    e = efficiency(draws, truths(5), 1)
    assert e.resolution < 1e-3
    assert np.isnan([e.scale, e.log_true, e.pooled, e.relative_bias, e.relative_std]).all()
    assert np.isfinite([e.log_own, e.cosine]).all()


def test_float32_is_computed_in_float64():
    """MSD-17."""
    t = truths(5)
    draws = (t[:, None] + noise(5, 9, 2, 10)).float()
    single, double = efficiency(draws, t.float(), 1), efficiency(draws.double(), t.float().double(), 1)
    assert astuple(single)[:12] == astuple(double)[:12]
    assert single.own.dtype == torch.float64


@pytest.mark.parametrize(
    ("draws", "truth", "cost", "says"),
    [
        (torch.ones(3, 4), torch.ones(3, 2), 1, r"draws must be \(P, N, D\)"),
        (torch.ones(3, 4, 2), torch.ones(4, 2), 1, r"and truth \(P, D\), got \(3, 4, 2\) and \(4, 2\)"),
        (torch.ones(3, 4, 2), torch.ones(3, 3), 1, "draws must be"),
        (torch.ones(3, 1, 2), torch.ones(3, 2), 1, "N >= 2"),
        (torch.ones(0, 4, 2), torch.ones(0, 2), 1, "draws must be"),
        (torch.full((3, 4, 2), torch.nan), torch.ones(3, 2), 1, "must be finite"),
        (torch.ones(3, 4, 2), torch.full((3, 2), torch.inf), 1, "must be finite"),
        (torch.ones(3, 4, 2), torch.zeros(3, 2), 1, "truth must have a point"),
        (torch.ones(3, 4, 2), torch.ones(3, 2), 0, "cost must be a positive"),
        (torch.ones(3, 4, 2), torch.ones(3, 2), float("nan"), "cost must be a positive"),
    ],
)
def test_refuses(draws, truth, cost, says):
    """MSD-17."""
    with pytest.raises(UsageError, match=says):
        efficiency(draws, truth, cost)
