"""The maximum mean discrepancy against two libraries and the closed form of Gaussians."""

import numpy as np
import pytest
import torch
from closed_forms import t64
from geomloss import SamplesLoss
from sklearn.metrics.pairwise import rbf_kernel

from modeseek.errors import UsageError
from modeseek.metrics import mmd, points


def cloud(n, seed, shift=0.0, std=1.0):
    return std * torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("bandwidths", [(0.25, 0.5, 1.0, 2.0, 4.0), (0.3,), (1.7, 0.4, 3.4)])
def test_agrees_with_scikit_learn(bandwidths, unbiased):
    """MMD-1: the scale is the reference's standard deviation per coordinate; widths that halve and that do not."""
    a, b = cloud(120, 0), cloud(90, 1, 0.3, 0.4)
    scale = np.sqrt(np.trace(np.cov(b.numpy().T)) / 2)
    k_aa, k_bb, k_ab = (
        np.mean([rbf_kernel(x, y, gamma=0.5 / (w * scale) ** 2) for w in bandwidths], axis=0)
        for x, y in ((a, a), (b, b), (a, b))
    )
    n, m = len(a), len(b)
    if unbiased:
        within = (k_aa.sum() - n) / (n * (n - 1)) + (k_bb.sum() - m) / (m * (m - 1))
    else:
        within = k_aa.mean() + k_bb.mean()
    assert mmd(a, b, bandwidths, unbiased=unbiased) == pytest.approx(within - 2 * k_ab.mean(), abs=1e-14, rel=1e-11)


@pytest.mark.parametrize("width", [0.2, 1.5])
def test_agrees_with_geomloss(width):
    """MMD-1: geomloss halves the squared norm, and is biased."""
    a, b = cloud(70, 2), cloud(50, 3, 0.5)
    theirs = float(SamplesLoss("gaussian", blur=width, backend="tensorized")(a, b))
    assert mmd(a, b, [width], scale=1.0, unbiased=False) == pytest.approx(2 * theirs, rel=1e-10)


def test_of_two_gaussians():
    """MMD-1: E k(x, y) = w^2 / (w^2 + v) exp(-d^2 / 2 (w^2 + v)) for x - y ~ N(d, v I); within five standard errors."""
    w, shift, std = 0.8, 0.6, 0.5

    def mean_kernel(d2, v):
        return w**2 / (w**2 + v) * np.exp(-d2 / (2 * (w**2 + v)))

    truth = mean_kernel(0, 2) + mean_kernel(0, 2 * std**2) - 2 * mean_kernel(2 * shift**2, 1 + std**2)
    values = np.array([mmd(cloud(30, 2 * s), cloud(20, 2 * s + 1, shift, std), [w], scale=1.0) for s in range(500)])
    assert abs(values.mean() - truth) < 5 * values.std() / 500**0.5
    biased = [mmd(cloud(30, 2 * s), cloud(20, 2 * s + 1, shift, std), [w], scale=1.0, unbiased=False) for s in range(9)]
    assert (np.array(biased) > values[:9]).all()


def test_is_zero_in_expectation_for_one_density():
    """MMD-1: unbiased with a scale that is given; values below zero happen; the biased one is a norm."""
    pairs = [(cloud(25, 2 * s), cloud(25, 2 * s + 1)) for s in range(400)]
    values = np.array([mmd(a, b, scale=1.0) for a, b in pairs])
    assert abs(values.mean()) < 5 * values.std() / 400**0.5
    assert (values < 0).any()
    assert min(mmd(a, b, unbiased=False) for a, b in pairs[:20]) > 0
    assert mmd(pairs[0][0], pairs[0][0], unbiased=False) == pytest.approx(0, abs=1e-14)


def test_moves_and_stretches_with_both_sets():
    """MMD-1: the default scale makes it a number without units."""
    a, b = cloud(60, 4), cloud(50, 5, 0.4)
    move = t64([3.0, -2.0])
    assert mmd(7 * a + move, 7 * b + move) == pytest.approx(mmd(a, b), rel=1e-9)
    assert mmd(7 * a, 7 * b, scale=1.0) != pytest.approx(mmd(a, b, scale=1.0), rel=1e-2)


def test_far_apart_it_is_the_sum_of_the_parts():
    """MMD-1: at 1e6 the cross term is 0; biased and collapsed sets reach the bound of 2."""
    a = torch.zeros(30, 2, dtype=torch.float64)
    assert mmd(a, a + 1e6, scale=1.0, unbiased=False) == pytest.approx(2.0, rel=1e-14)


def test_the_size_of_the_pieces_does_not_matter(monkeypatch):
    """MMD-1."""
    a, b = cloud(80, 6), cloud(70, 7)
    whole = mmd(a, b)
    monkeypatch.setattr(points, "PIECE", 500)
    assert mmd(a, b) == pytest.approx(whole, rel=1e-12)


def test_refuses():
    """MMD-1."""
    a, b = cloud(5, 0), cloud(5, 1)
    with pytest.raises(UsageError, match="two points or more in each set, got 1 and 5"):
        mmd(a[:1], b)
    for wrong in ({"bandwidths": []}, {"bandwidths": [1.0, 0.0]}, {"scale": -1.0}, {"scale": float("nan")}):
        with pytest.raises(UsageError, match="bandwidths and scale must be positive"):
            mmd(a, b, **wrong)
    with pytest.raises(UsageError, match="bandwidths and scale must be positive"):
        mmd(a, b[:1].expand(5, 2))  # a reference without extent has no scale of its own
