"""Metrics against independent libraries and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from sklearn.decomposition import PCA as SklearnPCA
from sklearn.metrics.pairwise import polynomial_kernel
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from modeseek.errors import UsageError
from modeseek.metrics import PCA, frechet_distance, kernel_distance
from modeseek.metrics.frechet import _cross_of_columns, _cross_of_rows


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


@pytest.mark.parametrize(("n", "m"), [(20, 30), (40, 12), (40, 40)])
def test_few_samples_take_the_short_way_to_the_same_number(n, m):
    """FD-2: singular values of rows against rows equal two eigenvalue problems of columns, to the latter's rounding."""
    a, b = (features(k, 40, seed) for k, seed in ((n, 13), (m, 14)))
    a, b = ((x - x.mean(0)) / (len(x) - 1) ** 0.5 for x in (a, b))
    assert float(_cross_of_rows(a, b)) == pytest.approx(float(_cross_of_columns(a, b)), rel=1e-6)
    # in the span of the rows the covariances are regular, and there scipy has all its digits
    basis = torch.linalg.qr(torch.cat([a, b]).T)[0]
    c_a, c_b = ((x @ basis).T.numpy() @ (x @ basis).numpy() for x in (a, b))
    values = scipy.linalg.eigvals(c_a @ c_b).real
    assert float(_cross_of_rows(a, b)) == pytest.approx(np.sqrt(values[values > 1e-12]).sum(), rel=1e-8)


def test_frechet_distance_of_a_set_with_itself_is_zero_at_2048_dimensions():
    """FD-2: 60 rows in 2048 dimensions; and a shift by one vector is its squared length."""
    a = torch.randn(60, 2048, generator=torch.Generator().manual_seed(15), dtype=torch.float64)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, a + 0.5) == pytest.approx(2048 * 0.25, rel=1e-12)


class Rows(torch.nn.Module):
    """Pictures that are features: (N, 3, 2, 2) -> (N, 12)."""

    num_features = 12

    def forward(self, x):
        return x.flatten(1)


def as_pictures(rows):
    return rows.reshape(-1, 3, 2, 2)


def test_frechet_distance_agrees_with_torchmetrics():
    """FD-1."""
    fid = FrechetInceptionDistance(Rows(), normalize=True, input_img_size=(3, 2, 2)).set_dtype(torch.float64)
    a, b = features(200, 12, 16), features(150, 12, 17, 0.2)
    fid.update(as_pictures(a), real=False)
    fid.update(as_pictures(b), real=True)
    assert frechet_distance(a, b) == pytest.approx(float(fid.compute()), rel=1e-9)


@pytest.mark.filterwarnings("ignore:.*will save all extracted features")
def test_kernel_distance_agrees_with_torchmetrics():
    """KD-1: one subset of everything."""
    kid = KernelInceptionDistance(Rows(), subsets=1, subset_size=80, normalize=True).set_dtype(torch.float64)
    a, b = features(80, 12, 18), features(80, 12, 19, 0.2)
    kid.update(as_pictures(a), real=False)
    kid.update(as_pictures(b), real=True)
    assert kernel_distance(a, b) == pytest.approx(float(kid.compute()[0]), rel=1e-9)


@pytest.mark.parametrize(("n", "m", "variances"), [(200, 200, [1.0] * 8), (400, 700, [4.0, 1.0, 0.25, 0.01, 0.01])])
def test_the_bias_of_two_sets_of_one_gaussian(n, m, variances):
    """FD-3: to first order in 1/n, within five standard errors and the second order, about D/n of the first."""
    g, v = torch.Generator().manual_seed(20), torch.tensor(variances, dtype=torch.float64)
    pairs = ((torch.randn(k, len(v), generator=g, dtype=torch.float64) * v.sqrt() for k in (n, m)) for _ in range(300))
    values = torch.tensor([frechet_distance(a, b) for a, b in pairs])
    spread = (torch.outer(v, v) / (v[:, None] + v)).sum() + v.sum() / 2
    expected = float((1 / n + 1 / m) * v.sum() + 0.5 * (1 / (n - 1) + 1 / (m - 1)) * spread)
    assert abs(float(values.mean()) - expected) < 5 * float(values.std()) / 300**0.5 + len(v) / min(n, m) * expected
    if len(set(variances)) == 1:  # the usual rule of thumb, unit variance
        d = len(v)
        assert expected == pytest.approx(2 * d / n + d * (d + 1) / (2 * (n - 1)))
