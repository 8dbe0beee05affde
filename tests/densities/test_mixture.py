import numpy as np
import pytest
import torch
from closed_forms import (
    COVARIANCES,
    MEANS,
    MU,
    POINTS,
    WEIGHTS,
    C,
    assert_moments,
    gaussian,
    log_density,
    log_density_gradient,
    mixture,
    t64,
)
from scipy import integrate, stats

from modeseek.densities import GaussianMixture
from modeseek.errors import UsageError
from modeseek.randomness import Streams


@pytest.mark.parametrize("sigma", [0.0, 0.3, 4.0])
def test_log_prob_agrees_with_scipy(sigma):
    """MIX-1."""
    densities = [stats.multivariate_normal(m, c + sigma**2 * np.eye(2)) for m, c in zip(MEANS, COVARIANCES)]
    expected = np.log(sum(w * d.pdf(POINTS) for w, d in zip(WEIGHTS, densities)))
    np.testing.assert_allclose(mixture().log_prob(t64(POINTS), sigma).numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("sigma", [0.0, 0.3, 4.0])
def test_score_is_the_gradient_of_log_prob(sigma):
    """MIX-3: by autograd of modeseek's own log_prob and of torch.distributions'."""
    x = t64(POINTS).requires_grad_()
    own = torch.autograd.grad(mixture().log_prob(x, sigma).sum(), x)[0]
    score = mixture().score(t64(POINTS), sigma)
    torch.testing.assert_close(score, own, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(score, log_density_gradient(t64(POINTS), sigma), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("sigma", [0.05, 0.5, 3.0])
def test_posterior_mean_is_tweedies(sigma):
    """MIX-2: E[x | z] = z + sigma^2 grad log p_sigma(z), the log density by torch.distributions."""
    z = t64(POINTS)
    expected = z + sigma**2 * log_density_gradient(z, sigma)
    torch.testing.assert_close(mixture().posterior_mean(z, sigma), expected, rtol=0, atol=1e-10)


def test_one_level_per_point():
    """MIX-1, MIX-2, MIX-3."""
    z, sigma = t64(POINTS), t64([0.1, 0.2, 0.5, 1.0, 5.0])
    m = mixture()
    for call in (m.log_prob, m.posterior_mean, m.score):
        rows = torch.cat([call(z[i : i + 1], float(s)) for i, s in enumerate(sigma)])
        torch.testing.assert_close(call(z, sigma), rows, rtol=1e-13, atol=1e-13)


def test_selected_components():
    """MIX-2: the posterior mean of a part of the mixture is that of the mixture of this part."""
    z = t64(POINTS)
    part = GaussianMixture(t64(MEANS[[0, 2]]), t64(COVARIANCES[[0, 2]]), t64(WEIGHTS[[0, 2]]))
    allowed = torch.tensor([True, False, True])
    torch.testing.assert_close(mixture().posterior_mean(z, 0.4, allowed), part.posterior_mean(z, 0.4))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("distance", [15.0, 100.0, 1e3])
def test_far_from_the_data_everything_stays_finite_and_right(distance, dtype):
    """MIX-1, MIX-2, MIX-3: where linear space gives 0 / 0, the nearest tail holds: a Gaussian's, linear in x."""
    std = 0.05
    means = t64([[0.0, 0.0], [0.4, 0.0]]).to(dtype)
    m = GaussianMixture.isotropic(means, std)
    x = torch.tensor([[-distance * std, 0.0]], dtype=dtype)
    for sigma in (0.0, 0.01):
        total = std**2 + sigma**2
        log_prob = -0.5 * (distance * std) ** 2 / total - np.log(2 * np.pi * total) - np.log(2)
        assert float(m.log_prob(x, sigma)) == pytest.approx(log_prob, rel=1e-5)
        torch.testing.assert_close(m.score(x, sigma), -x / total, rtol=1e-4, atol=1e-6)
    shrunk = std**2 / (std**2 + 0.01**2)
    torch.testing.assert_close(m.posterior_mean(x, 0.01), shrunk * x, rtol=1e-4, atol=1e-5)


def test_posterior_mean_by_quadrature():
    """MIX-2: a mixture on the line, scipy's adaptive quadrature."""
    means, variances, weights = [-1.0, 0.5], [0.09, 0.25], [0.4, 0.6]
    m = GaussianMixture(t64(means)[:, None], t64(variances)[:, None, None], t64(weights))

    def joint(y, z, sigma):
        p = sum(w * stats.norm.pdf(y, mu, v**0.5) for mu, v, w in zip(means, variances, weights))
        return p * stats.norm.pdf(y, z, sigma)

    for z, sigma in [(0.3, 0.5), (-2.0, 1.0), (1.5, 0.2)]:
        options = {"epsabs": 1e-13, "epsrel": 1e-13, "limit": 200, "points": [-1.0, 0.5, z]}
        mass = integrate.quad(lambda y, z=z, s=sigma: joint(y, z, s), -8, 8, **options)[0]
        first = integrate.quad(lambda y, z=z, s=sigma: y * joint(y, z, s), -8, 8, **options)[0]
        assert float(m.posterior_mean(t64([[z]]), sigma)) == pytest.approx(first / mass, abs=1e-10)


def test_points_of_no_width():
    """MIX-2: with std 0 it is a softmax over the points, the ideal denoiser of the paper (its eq. 16)."""
    points, z, sigma = t64(MEANS), t64(POINTS), 0.3
    weights = torch.softmax(-(torch.cdist(z, points) ** 2) / (2 * sigma**2), -1)
    m = GaussianMixture.isotropic(points, 0.0)
    torch.testing.assert_close(m.posterior_mean(z, sigma), weights @ points, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sigma", [0.0, 0.5])
def test_samples_have_the_mixtures_moments(sigma):
    """MIX-1: within 5 standard errors."""
    mean = WEIGHTS @ MEANS
    spread = np.einsum("k,kd,ke->de", WEIGHTS, MEANS - mean, MEANS - mean)
    covariance = np.einsum("k,kde->de", WEIGHTS, COVARIANCES) + spread + sigma**2 * np.eye(2)
    assert_moments(mixture().sample(20_000, torch.Generator().manual_seed(0), sigma), mean, covariance)
    if sigma == 0:
        assert_moments(mixture().draw(Streams.for_batch(0, 20_000)), mean, covariance)


def test_samples_have_the_mixtures_density():
    """MIX-1: the mean of log p over samples is minus the entropy, here against a grid; a Gaussian's is known."""
    m = mixture()
    axis = np.linspace(-3, 3, 400)
    y = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    log_p = log_density(t64(y), 0.0).numpy()
    expected = float((np.exp(log_p) * log_p).sum() * (axis[1] - axis[0]) ** 2)
    drawn = m.log_prob(m.draw(Streams.for_batch(1, 20_000)))
    assert abs(float(drawn.mean()) - expected) < 5 * float(drawn.std()) / 20_000**0.5
    assert_moments(gaussian().draw(Streams.for_batch(2, 20_000)), MU, C)


def test_a_drawn_point_does_not_depend_on_the_batch():
    batch = mixture().draw(Streams.for_batch(0, 6))
    torch.testing.assert_close(mixture().draw(Streams(0, [4])), batch[4:5], rtol=0, atol=1e-14)


def test_weights_are_normalised():
    """MIX-1."""
    m = GaussianMixture(t64(MEANS), t64(COVARIANCES), 10 * t64(WEIGHTS))
    torch.testing.assert_close(m.log_prob(t64(POINTS)), mixture().log_prob(t64(POINTS)))


@pytest.mark.parametrize(
    ("means", "covariances", "weights", "says"),
    [
        (MEANS[0], COVARIANCES, WEIGHTS, "must be"),
        (MEANS, COVARIANCES[:2], WEIGHTS, "must be"),
        (MEANS, COVARIANCES[:, :1], WEIGHTS, "must be"),
        (MEANS, COVARIANCES, WEIGHTS[:2], "3 positive numbers"),
        (MEANS, COVARIANCES, [0.5, 0.5, 0.0], "3 positive numbers"),
        (MEANS, COVARIANCES, [0.5, 0.6, -0.1], "3 positive numbers"),
        (MEANS, COVARIANCES, [0.5, 0.5, np.nan], "3 positive numbers"),
        (MEANS, COVARIANCES * [[1, 20], [20, 1]], WEIGHTS, "semi-definite"),
    ],
)
def test_refuses(means, covariances, weights, says):
    with pytest.raises(UsageError, match=says):
        GaussianMixture(t64(means), t64(covariances), t64(weights))
