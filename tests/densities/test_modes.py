import numpy as np
import pytest
import torch
from closed_forms import COVARIANCES, MEANS, WEIGHTS, log_density, log_density_gradient, mixture, t64
from scipy import optimize

from modeseek.densities import GaussianMixture, find_modes
from modeseek.errors import UsageError

RANDOM = np.random.default_rng(0)
COUNT = 12
SCATTER = RANDOM.uniform(-1, 1, (COUNT, 2))
ROOTS = RANDOM.normal(size=(COUNT, 2, 2)) * 0.12
MANY = {
    "means": SCATTER,
    "covariances": ROOTS @ ROOTS.transpose(0, 2, 1) + 0.003 * np.eye(2),
    "weights": np.full(COUNT, 1 / COUNT),
}
THREE = {"means": MEANS, "covariances": COVARIANCES, "weights": WEIGHTS}


def of(density):
    return GaussianMixture(t64(density["means"]), t64(density["covariances"]), t64(density["weights"]))


def mean_shift(x, density, sigma, steps):
    """The textbook loop, in NumPy."""
    precisions = np.linalg.inv(density["covariances"] + sigma**2 * np.eye(2))
    logs = np.log(density["weights"]) + 0.5 * np.linalg.slogdet(precisions)[1]
    for _ in range(steps):
        d = x[:, None] - density["means"]
        joint = logs - 0.5 * np.einsum("bkd,kde,bke->bk", d, precisions, d)
        r = np.exp(joint - joint.max(1, keepdims=True))
        left = np.einsum("bk,kde->bde", r, precisions)
        x = np.linalg.solve(left, np.einsum("bk,kde,ke->bd", r, precisions, density["means"])[..., None])[..., 0]
    return x


@pytest.mark.parametrize("density", [THREE, MANY], ids=["three", "many"])
@pytest.mark.parametrize("sigma", [0.0, 0.05, 0.2])
def test_every_mode_is_one_and_none_is_missing(density, sigma):
    """MIX-5: gradient and Hessian by torch.distributions; the maxima of a fine grid, each refined by scipy."""
    modes = of(density).modes(sigma)
    gradient = log_density_gradient(modes.points, sigma, **density)
    assert gradient.abs().max() < 1e-8
    for x in modes.points:
        hessian = torch.autograd.functional.hessian(lambda y: log_density(y, sigma, **density), x)
        assert torch.linalg.eigvalsh(hessian).max() < 0
    torch.testing.assert_close(modes.log_prob, log_density(modes.points, sigma, **density))
    assert (modes.log_prob.diff() <= 0).all()
    assert modes.unresolved == 0
    expected = grid_maxima(density, sigma)
    nearest = np.linalg.norm(expected[:, None] - modes.points.numpy(), axis=-1)
    assert len(expected) == len(modes.points)
    assert nearest.min(0).max() < 1e-5
    assert nearest.min(1).max() < 1e-5


def grid_maxima(density, sigma):
    """Local maxima of log p on a grid of step 0.01, refined, without doubles."""
    axis = np.arange(-1.6, 1.6, 0.01)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1)
    with torch.no_grad():
        p = log_density(t64(grid), sigma, **density).numpy()
    inner = p[1:-1, 1:-1]
    shifts = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]
    top = np.all([inner > np.roll(p, s, (0, 1))[1:-1, 1:-1] for s in shifts], axis=0)
    found: list[np.ndarray] = []
    for start in grid[1:-1, 1:-1][top]:
        done = optimize.minimize(
            lambda y: -float(log_density(t64(y), sigma, **density)),
            start,
            jac=lambda y: -log_density_gradient(t64(y)[None], sigma, **density)[0].numpy(),
            tol=1e-12,
        )
        if all(np.linalg.norm(done.x - other) > 1e-4 for other in found):
            found.append(done.x)
    return np.stack(found)


@pytest.mark.parametrize("sigma", [0.0, 0.1])
def test_ascents_from_random_points_end_at_modes(sigma):
    """MIX-5: 2000 starts of the textbook loop."""
    modes = of(MANY).modes(sigma).points.numpy()
    starts = np.random.default_rng(1).uniform(-1.5, 1.5, (2000, 2))
    near = np.unique(mean_shift(starts, MANY, sigma, 50).round(3), axis=0)
    ends = mean_shift(near, MANY, sigma, 2000)
    distance = np.linalg.norm(ends[:, None] - modes, axis=-1)
    assert distance.min(1).max() < 1e-3
    assert set(distance.argmin(1)) == set(range(len(modes))), "every mode attracts"


def test_one_gaussian_has_one_mode_in_any_dimension():
    """MIX-5: at its mean, at any level."""
    for d in (1, 2, 5):
        mean = torch.linspace(-1, 2, d, dtype=torch.float64)[None]
        root = torch.randn(1, d, d, generator=torch.Generator().manual_seed(d), dtype=torch.float64)
        modes = GaussianMixture(mean, root @ root.mT + 0.1 * torch.eye(d)).modes(0.3)
        torch.testing.assert_close(modes.points, mean, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("distance", "count"), [(1.9, 1), (2.1, 2)])
def test_two_equal_gaussians_part_at_two_deviations(distance, count):
    """MIX-5: the textbook threshold, sigma in the deviation: sqrt(0.6^2 + 0.8^2) = 1."""
    means = t64([[-distance / 2, 0.0], [distance / 2, 0.0]])
    modes = GaussianMixture.isotropic(means, 0.6).modes(0.8)
    assert len(modes.points) == count
    assert modes.unresolved == 0
    centred = modes.points.sum(0)
    assert centred.abs().max() < 1e-7


def test_a_mode_beyond_the_means():
    """MIX-5: two long Gaussians cross far from both centres."""
    long, wide = np.diag([1.0, 1e-4]), np.diag([1e-4, 1.0])
    modes = GaussianMixture(t64([[0.0, 0.0], [1.5, 1.5]]), t64(np.stack([long, wide]))).modes()
    for corner in ([1.5, 0.0], [0.0, 0.0], [1.5, 1.5]):
        assert (modes.points - t64(corner)).norm(dim=-1).min() < 0.15


def test_a_circle_of_maxima_is_told():
    """MIX-5: modes of a ring of overlapping Gaussians cannot be told apart; none is claimed, the doubt is counted."""
    angle = torch.arange(64, dtype=torch.float64) * torch.pi / 32
    modes = GaussianMixture.isotropic(torch.stack([angle.cos(), angle.sin()], -1), 0.2).modes()
    assert len(modes.points) == 0
    assert modes.unresolved > 0


def test_starts_are_an_argument_and_precision_is_kept():
    """MIX-5."""
    near = find_modes(mixture(), 0.0, t64(MEANS[:1] + 0.01))
    assert len(near.points) == 1
    single, double = mixture(torch.float32).modes(0.1), mixture().modes(0.1)
    assert single.points.dtype == torch.float32
    torch.testing.assert_close(single.points.double(), double.points, rtol=0, atol=1e-5)


def test_points_of_no_width_need_noise():
    points = GaussianMixture.isotropic(t64(MEANS), 0.0)
    with pytest.raises(UsageError, match="point mass"):
        points.modes()
    assert len(points.modes(0.05).points) == 3
    for sigma in (-0.1, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="at least 0"):
            points.modes(sigma)
