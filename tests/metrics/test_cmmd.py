"""CMMD against the formula, scikit-learn and its limits."""

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import rbf_kernel

from modeseek.errors import UsageError
from modeseek.metrics import cmmd


def cloud(n, seed, shift=0.0, dim=16):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, dim, generator=generator, dtype=torch.float64) + shift


def unit(x):
    return x / x.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("unbiased", [False, True])
def test_equals_the_direct_formula(unbiased):
    """CMMD-1: 1000 (mean k(a, a') + mean k(b, b') - 2 mean k(a, b)), gamma = 1 / (2 10^2), rows of length one."""
    a, b = cloud(50, 0), cloud(40, 1, 0.3)
    k_aa, k_bb, k_ab = (rbf_kernel(unit(x).numpy(), unit(y).numpy(), gamma=0.005) for x, y in ((a, a), (b, b), (a, b)))
    within = (k_aa.sum() - 50) / (50 * 49) + (k_bb.sum() - 40) / (40 * 39) if unbiased else k_aa.mean() + k_bb.mean()
    assert cmmd(a, b, unbiased) == pytest.approx(1000 * (within - 2 * k_ab.mean()), rel=1e-9, abs=1e-11)


def test_length_does_not_matter():
    """CMMD-1."""
    a, b = cloud(20, 2), cloud(20, 3, 0.5)
    assert cmmd(7 * a, b * torch.linspace(0.1, 9, 20)[:, None]) == pytest.approx(cmmd(a, b), rel=1e-12)


def test_two_points_by_hand():
    """CMMD-1: two sets of copies at a right angle: 2000 (1 - exp(-1/100)); opposite ones: 2000 (1 - exp(-1/50))."""
    e = torch.eye(3, dtype=torch.float64)
    first, second = e[:1].expand(4, 3), e[1:2].expand(5, 3)
    for unbiased in (False, True):
        assert cmmd(first, second, unbiased) == pytest.approx(2000 * (1 - np.exp(-0.01)), rel=1e-12)
        assert cmmd(first, -first, unbiased) == pytest.approx(2000 * (1 - np.exp(-0.02)), rel=1e-12)


def test_it_is_ten_times_the_squared_distance_of_the_means():
    """CMMD-1: within 2 %, the change of the kernel's slope; and nearly blind to the spread."""
    a, b = cloud(3000, 4, 0.4), cloud(3000, 5, -0.1)
    means = 10 * float((unit(a).mean(0) - unit(b).mean(0)).square().sum())
    assert cmmd(a, b) == pytest.approx(means, rel=0.02)
    axis = torch.zeros(400, 16, dtype=torch.float64)
    axis[:200, 0], axis[200:, 0] = 1, -1  # two points, mean zero
    other = torch.cat([unit(cloud(200, 6)), -unit(cloud(200, 6))])  # all around, mean zero
    assert 0 < cmmd(axis, other) < 0.06  # of 20 between two opposite points


def test_bias():
    """CMMD-1: one density: unbiased has mean zero within five standard errors, biased is positive and falls as 1/N."""
    pairs = [(cloud(25, 2 * s), cloud(25, 2 * s + 1)) for s in range(300)]
    values = np.array([cmmd(a, b, unbiased=True) for a, b in pairs])
    assert abs(values.mean()) < 5 * values.std() / 300**0.5
    assert (values < 0).any()
    biased = np.array([cmmd(a, b) for a, b in pairs])
    assert biased.min() > 0
    expected = 2 / 25 * 1000 * (1 - np.exp(-0.01))  # 1/n + 1/m times (1 - mean k), rows nearly at right angles
    assert biased.mean() == pytest.approx(expected, rel=0.02)


def test_alike_sets_keep_their_digits():
    """CMMD-1: of sets 1e-6 apart the discrepancy is 1e-11, which 1 - k alone would have lost."""
    a = unit(cloud(30, 8))
    step = torch.zeros(16, dtype=torch.float64)
    step[0] = 1e-6
    exact = 10 * float(((unit(a + step) - a).mean(0)).square().sum())
    assert cmmd(a, a + step) == pytest.approx(exact, rel=0.05, abs=1e-13)


def test_refuses():
    """CMMD-1."""
    with pytest.raises(UsageError, match="N, M >= 2"):
        cmmd(cloud(1, 0), cloud(5, 1))
