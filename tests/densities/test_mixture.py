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
from modeseek.densities import mixture as module
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


@pytest.mark.parametrize("sigma", [0.0, 0.3, 4.0])
def test_hessian_is_the_second_derivative_of_log_prob(sigma):
    """MIX-4: by autograd of torch.distributions' log density, and by differences of modeseek's own score."""
    x, eye = t64(POINTS), 1e-5 * torch.eye(2, dtype=torch.float64)
    expected = torch.stack([torch.autograd.functional.hessian(lambda y: log_density(y, sigma), row) for row in x])
    hessian = mixture().hessian(x, sigma)
    torch.testing.assert_close(hessian, expected, rtol=1e-9, atol=1e-9)
    rows = [(mixture().score(x + e, sigma) - mixture().score(x - e, sigma)) / 2e-5 for e in eye]
    torch.testing.assert_close(hessian, torch.stack(rows, 1), rtol=1e-6, atol=1e-6)


def test_expansion_has_a_level_per_point_and_the_mean_precision():
    """MIX-4, MIX-5: A = sum_k r_k S_k^-1, so that A^-1 times the score is the step to the mean shift's fixed point."""
    x, sigma = t64(POINTS), t64([0.1, 0.2, 0.5, 1.0, 5.0])
    found = mixture().expansion(x, sigma)
    for i, level in enumerate(sigma):
        smoothed = np.linalg.inv(COVARIANCES + float(level) ** 2 * np.eye(2))
        joint = [
            w * stats.multivariate_normal(m, np.linalg.inv(p)).pdf(POINTS[i])
            for w, m, p in zip(WEIGHTS, MEANS, smoothed)
        ]
        r = np.array(joint) / np.sum(joint)
        precision = np.einsum("k,kde->de", r, smoothed)
        shifted = np.linalg.solve(precision, np.einsum("k,kde,ke->d", r, smoothed, MEANS))
        np.testing.assert_allclose(found.precision[i], precision, rtol=1e-10)
        step = torch.linalg.solve(found.precision[i], found.score[i])
        np.testing.assert_allclose(x[i] + step, shifted, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found.log_prob, mixture().log_prob(x, sigma))
    torch.testing.assert_close(found.score, mixture().score(x, sigma))


@pytest.mark.parametrize("per_row", [False, True])
def test_chunks_change_nothing(monkeypatch, per_row):
    """MIX-1, MIX-2, MIX-3, MIX-4: the batch in parts of two rows, and whole."""
    m, x = mixture(), 0.5 * t64(POINTS).repeat(3, 1)
    sigma = torch.linspace(0.1, 2.0, len(x), dtype=torch.float64) if per_row else 0.3
    allowed = torch.arange(3 * len(x)).reshape(-1, 3) % 4 > 0
    calls = [m.log_prob, m.score, m.hessian, m.posterior_mean, lambda x, s: m.posterior_mean(x, s, allowed)]
    whole = [call(x, sigma) for call in calls]
    monkeypatch.setattr(module, "CHUNK_BYTES", 2 * 3 * 2 * 8)
    for call, expected in zip(calls, whole):
        torch.testing.assert_close(call(x, sigma), expected, rtol=1e-13, atol=1e-13)
    assert m.log_prob(x[:1], t64([0.1, 0.2, 0.3, 0.4, 0.5])).shape == (5,), "one point at five levels"
    assert m.score(x[:0], 0.3).shape == (0, 2)


def test_memory_does_not_grow_with_the_batch(monkeypatch):
    """MIX-1: no part is larger than a chunk."""
    rows, components = [], GaussianMixture._components
    monkeypatch.setattr(GaussianMixture, "_components", lambda s, x, *a: rows.append(len(x)) or components(s, x, *a))
    mixture().log_prob(torch.zeros(200_000, 2, dtype=torch.float64), 0.1)
    assert len(rows) > 1
    assert max(rows) * 3 * 2 * 8 <= module.CHUNK_BYTES


@pytest.mark.parametrize("sigma", [0.0, 0.02, 1.0])
def test_float32_agrees_with_float64(sigma):
    """MIX-1, MIX-2, MIX-3, MIX-4: log density to 1e-5, the rest to 1e-4 of its largest entry."""
    x, exact, single = t64(POINTS), mixture(), mixture(torch.float32)
    torch.testing.assert_close(
        single.log_prob(x.float(), sigma).double(), exact.log_prob(x, sigma), rtol=1e-5, atol=1e-5
    )
    for name in ("score", "hessian", "posterior_mean"):
        expected = getattr(exact, name)(x, sigma)
        got = getattr(single, name)(x.float(), sigma).double()
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_million_away_everything_points_home(dtype):
    """MIX-1, MIX-2, MIX-3."""
    x = torch.tensor([[1e6, 0.0], [-6e5, 8e5]], dtype=dtype)
    for sigma in (0.0, 0.02, 1.0):
        assert mixture(dtype).log_prob(x, sigma).isfinite().all()
        score, mean = mixture(dtype).score(x, sigma), mixture(dtype).posterior_mean(x, sigma)
        assert (torch.cosine_similarity(score, -x) > 0.5).all()  # the covariances turn it, a round one does not
        assert (mean.norm(dim=-1) <= 1.01 * x.norm(dim=-1)).all()
    round_one = GaussianMixture.isotropic(t64(MEANS).to(dtype), 0.1)
    assert (torch.cosine_similarity(round_one.score(x, 0.02), -x) > 1 - 1e-5).all()


@pytest.mark.parametrize("covariance", [np.zeros((2, 2)), np.array([[0.36, 0.48], [0.48, 0.64]])])
def test_no_width_needs_noise(covariance):
    """MIX-1: a point mass, or a Gaussian on a line, has no density at sigma 0; at any other it has."""
    m = GaussianMixture(t64(MEANS), t64(np.stack([COVARIANCES[0], COVARIANCES[1], covariance])))
    for call in (m.log_prob, m.score, m.hessian, m.posterior_mean):
        with pytest.raises(UsageError, match="point mass"):
            call(t64(POINTS), 0.0)
        with pytest.raises(UsageError, match="point mass"):
            call(t64(POINTS), t64([1.0, 1.0, 0.0, 1.0, 1.0]))
        assert call(t64(POINTS), 1e-3).isfinite().all()


def test_not_a_number_is_refused():
    for broken in ([np.nan, 0.0], [np.inf, 0.0]):
        with pytest.raises(UsageError, match="finite"):
            GaussianMixture(t64([broken, [0.0, 0.0]]), t64(COVARIANCES[:2]))
