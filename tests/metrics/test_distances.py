"""Metrics against independent libraries and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from sklearn.decomposition import PCA as SklearnPCA
from sklearn.metrics.pairwise import polynomial_kernel

from modeseek.errors import UsageError
from modeseek.metrics import PCA, frechet_distance, kernel_distance


def features(n: int, d: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(d, d, generator=generator, dtype=torch.float64) / d**0.5
    return torch.randn(n, d, generator=generator, dtype=torch.float64) @ mix + shift


def test_frechet_distance_agrees_with_scipy():
    """FD-1."""
    a, b = features(300, 12, 0), features(200, 12, 1, 0.3)
    root = scipy.linalg.sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    delta = (a.mean(0) - b.mean(0)).numpy()
    expected = delta @ delta + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_of_shifted_and_scaled_gaussians():
    """FD-1: commuting covariances have |mu|^2 + sum (s_a - s_b)^2."""
    a = features(500, 5, 2)
    b = 1.7 * (a - a.mean(0)) + a.mean(0) + 2.0
    variances = torch.cov(a.T).diagonal().sum()
    assert frechet_distance(a, b) == pytest.approx(5 * 4.0 + 0.7**2 * float(variances), rel=1e-9)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_of_singular_covariances():
    """FD-1 with fewer samples than dimensions."""
    a, b = features(8, 20, 3), features(9, 20, 4)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-6)


def test_kernel_distance_agrees_with_scikit_learn():
    """KD-1."""
    a, b = features(60, 7, 5), features(50, 7, 6, 0.2)
    k = [polynomial_kernel(x, y, degree=3) for x, y in ((a, a), (b, b), (a, b))]
    n, m = len(a), len(b)
    expected = (k[0].sum() - np.trace(k[0])) / (n * (n - 1)) + (k[1].sum() - np.trace(k[1])) / (m * (m - 1))
    assert kernel_distance(a, b) == pytest.approx(expected - 2 * k[2].mean(), rel=1e-9)


def test_kernel_distance_is_unbiased():
    """KD-1: the mean over many pairs of sets from one density is zero within five standard errors."""
    generator = torch.Generator().manual_seed(7)
    values = torch.tensor([kernel_distance(*torch.randn(2, 10, 4, generator=generator)) for _ in range(2000)])
    assert abs(values.mean()) < 5 * values.std() / 2000**0.5
    assert (values < 0).any()


def test_pca_agrees_with_scikit_learn():
    x = features(100, 9, 8)
    ours, theirs = PCA.fit(x, 4)(x), SklearnPCA(4, svd_solver="full").fit_transform(x.numpy())
    assert np.allclose(ours.abs(), np.abs(theirs), atol=1e-9)


def test_pca_keeps_no_more_than_the_samples_span():
    assert PCA.fit(features(5, 9, 9), 64)(features(3, 9, 10)).shape == (3, 4)


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
def test_bad_shapes_are_refused(distance):
    with pytest.raises(UsageError, match="N, M >= 2"):
        distance(torch.zeros(1, 3), torch.zeros(5, 3))
    with pytest.raises(UsageError, match="features must be"):
        distance(torch.zeros(5, 3), torch.zeros(5, 4))
