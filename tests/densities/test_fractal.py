import math

import numpy as np
import pytest
import torch

from modeseek.densities import GaussianMixture, fractal


@pytest.fixture(scope="module")
def trees():
    return fractal()


def class_a(trees):
    mixture, classes = trees
    a = classes == 0
    return GaussianMixture(mixture.means[a], mixture.covariances[a], mixture.log_weights[a].exp())


def test_a_class_has_127_branches_of_8_gaussians(trees):
    mixture, classes = trees
    assert torch.bincount(classes).tolist() == [1016, 1016]
    weights = mixture.log_weights.reshape(254, 8)
    assert (weights == weights[:, :1]).all(), "one weight a branch"
    assert len(weights[:, 0].unique()) == 254


def test_the_trunks_first_gaussian(trees):
    """By hand from the text: the first number of RandomState(2) is the trunk's length."""
    length = 0.292 * (1 + 0.2 * np.random.RandomState(2).randn())
    scale, along = np.array([1.3136, 1.3844]), np.array([1.0, 1.0]) / math.sqrt(2)
    mixture, _ = trees
    np.testing.assert_allclose(mixture.means[0], scale * ([0.0030, 0.0325] + 0.07 * length * along), rtol=1e-12)
    ratio = 0.2 / length
    covariance = np.outer(along, along) + ratio**2 * (np.eye(2) - np.outer(along, along))
    covariance = covariance * np.outer(scale, scale) * (0.06 * length) ** 2
    np.testing.assert_allclose(mixture.covariances[0], covariance, rtol=1e-12)


def test_children_start_where_their_parent_ends(trees):
    """Depth first: after the trunk comes its left child, and after the 63 branches of that subtree the right one."""
    mixture, _ = trees
    ends = mixture.means[:1016].reshape(127, 8, 2)
    foot = ends[:, 0] - 0.07 / 0.86 * (ends[:, -1] - ends[:, 0])
    tip = ends[:, -1] + 0.07 / 0.86 * (ends[:, -1] - ends[:, 0])
    torch.testing.assert_close(foot[1], tip[0])
    torch.testing.assert_close(foot[64], tip[0])
    torch.testing.assert_close(foot[2], tip[1])
    trunk, left, right = (tip - foot)[[0, 1, 64]]
    assert float(trunk[0] * left[1] - trunk[1] * left[0]) > 0 > float(trunk[0] * right[1] - trunk[1] * right[0])


def test_the_stated_moments_and_entropy(trees):
    """Standard deviation about (0.33, 0.34), entropy about -1.35 nat, within five standard errors and the rounding."""
    a = class_a(trees)
    n = 20_000
    x = a.sample(n, torch.Generator().manual_seed(0))
    w = a.log_weights.exp()
    mean = w @ a.means
    variance = w @ ((a.means - mean) ** 2 + a.covariances.diagonal(dim1=-2, dim2=-1))
    np.testing.assert_allclose(variance.sqrt(), [0.33, 0.34], atol=0.005)
    assert ((x.var(0) - variance).abs() < 5 * ((x - mean) ** 2).std(0) / n**0.5).all()
    log_prob = a.log_prob(x)
    assert abs(float(log_prob.mean()) - 1.35) < 5 * float(log_prob.std()) / n**0.5 + 0.005


def test_precision_is_an_argument(trees):
    single, _ = fractal(torch.float32)
    assert single.means.dtype == torch.float32
    x = trees[0].means[::100]
    torch.testing.assert_close(single.log_prob(x.float()).double(), trees[0].log_prob(x), rtol=1e-4, atol=2e-3)
