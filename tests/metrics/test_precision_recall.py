"""Precision, recall, density and coverage against two libraries and by hand."""

import numpy as np
import pytest
import torch
from closed_forms import t64
from prdc import compute_prdc
from sklearn.neighbors import NearestNeighbors

from modeseek.errors import UsageError
from modeseek.metrics import PrecisionRecall, points, precision_recall


def cloud(n, seed, dim=2, shift=0.0):
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


@pytest.mark.parametrize(("n", "m", "k", "dim"), [(300, 200, 3, 2), (150, 400, 1, 2), (200, 200, 5, 7), (3, 9, 1, 1)])
def test_equals_prdc(n, m, k, dim):
    """PR-1: all four, exactly; up to the order of a division in the density."""
    fake, real = cloud(n, 0, dim, 0.7), cloud(m, 1, dim)
    expected = compute_prdc(real.numpy(), fake.numpy(), k)
    ours = precision_recall(fake, real, k)
    for name in ("precision", "recall", "coverage"):
        assert getattr(ours, name) == expected[name]
    assert ours.density == pytest.approx(expected["density"], rel=1e-14)


def test_equals_scikit_learns_neighbours():
    """PR-1: balls from a tree; and precision is the share of *fake* points, recall that of real ones."""
    fake, real = cloud(400, 2, shift=1.0), cloud(900, 3)

    def share_inside(points, balls):
        tree = NearestNeighbors(n_neighbors=3).fit(balls.numpy())
        radii = tree.kneighbors(return_distance=True)[0][:, -1]  # of the fitted points themselves: without themselves
        return (np.linalg.norm(points.numpy()[:, None] - balls.numpy(), axis=-1) <= radii).any(1).mean()

    ours = precision_recall(fake, real, k=3)
    assert ours.precision == share_inside(fake, real)
    assert ours.recall == share_inside(real, fake)
    assert ours.precision != ours.recall


def test_by_hand_on_the_line():
    """PR-1: real 0 ... 9 with radii 1; fake radii 19.5, 1, 1 reach real points as far as 20.5 - 20 = 0.5 from 0."""
    real = t64(np.arange(10.0))[:, None]
    fake = t64([0.5, 20.0, 21.0])[:, None]
    # 0.5 lies in the balls of 0 and 1 (2 of 10 real balls); balls of 20 and 21 reach no real point, that of 0.5 all
    assert precision_recall(fake, real, k=1) == PrecisionRecall(1 / 3, 1.0, 2 / 3, 0.2)
    # swapped: all ten lie in the ball of 0.5 and no other; 0.5 is within 1 of 0 and 1; of three fake balls one is hit
    swapped = precision_recall(real, fake, k=1)
    assert swapped == PrecisionRecall(1.0, 1 / 3, 1.0, 1 / 3)


def test_a_collapsed_set_has_precision_and_no_recall():
    """PR-1: 50 copies of a real point have balls of radius 0, which hold that one point: closed balls; and swapped."""
    real = cloud(200, 4)
    copies = real[7:8].expand(50, 2)
    ours, swapped = precision_recall(copies, real), precision_recall(real, copies)
    assert (ours.precision, ours.recall) == (1.0, 1 / 200)
    assert (swapped.precision, swapped.recall) == (1 / 200, 1.0)


def test_all_points_of_the_set_itself():
    """PR-1."""
    real = cloud(200, 5)
    ours = precision_recall(real, real)
    assert (ours.precision, ours.recall, ours.coverage) == (1.0, 1.0, 1.0)


def test_the_size_of_the_pieces_does_not_matter(monkeypatch):
    """PR-1."""
    fake, real = cloud(130, 6), cloud(90, 7)
    whole = precision_recall(fake, real)
    monkeypatch.setattr(points, "PIECE", 700)
    assert precision_recall(fake, real) == whole


@pytest.mark.parametrize(("n", "m", "k"), [(3, 10, 3), (10, 3, 3), (10, 10, 0), (10, 10, -1)])
def test_too_few_points_for_k(n, m, k):
    """PR-1."""
    with pytest.raises(UsageError, match=f"k must be .* {n} fake and {m} real, got {k}"):
        precision_recall(cloud(n, 0), cloud(m, 1), k)
    assert precision_recall(cloud(4, 0), cloud(4, 1), 3).precision == 1.0  # the whole set is in the largest ball
