"""Distances in pieces, and what is refused."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from modeseek.errors import UsageError
from modeseek.metrics import mmd, nearest_mode, nll, points, precision_recall, share_at_modes, share_of_modes_found
from modeseek.metrics.points import checked_points, squared_distances

TWO_SETS = (precision_recall, mmd, nearest_mode)


def cloud(n, seed, dim=2, dtype=torch.float64):
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("dim", [1, 2, 5])
@pytest.mark.parametrize("piece", [1, 100, 2**18])
def test_the_pieces_are_the_table_of_scipy(monkeypatch, dim, piece):
    monkeypatch.setattr(points, "PIECE", piece)
    a, b = cloud(23, 0, dim), cloud(17, 1, dim)
    table = torch.full((23, 17), torch.nan, dtype=torch.float64)
    for rows, squared in squared_distances(a, b):
        table[rows] = squared
    np.testing.assert_allclose(table.sqrt().numpy(), cdist(a, b), rtol=1e-14)


def test_near_neighbours_far_from_the_origin_keep_their_digits():
    """The expanded square gives 0 or noise here: 1e-6 apart at 1e4."""
    a = torch.tensor([[1e4, 1e4]], dtype=torch.float64)
    b = a + torch.tensor([[2.0**-20, 0.0]], dtype=torch.float64)
    ((_, squared),) = squared_distances(a, b)
    assert float(squared) == 2.0**-40


@pytest.mark.parametrize("metric", TWO_SETS)
def test_float32_is_computed_in_float64(metric):
    a, b = cloud(40, 0, dtype=torch.float32), cloud(30, 1, dtype=torch.float32)
    single, double = metric(a, b), metric(a.double(), b.double())
    assert torch.equal(single, double) if isinstance(single, torch.Tensor) else single == double


@pytest.mark.parametrize("metric", TWO_SETS)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_not_finite_is_refused(metric, bad):
    a, b = cloud(10, 0), cloud(10, 1)
    b[3, 1] = bad
    for pair in ((a, b), (b, a)):
        with pytest.raises(UsageError, match="must be finite, got NaN or infinity in 1 of 10 rows"):
            metric(*pair)


@pytest.mark.parametrize("metric", TWO_SETS)
@pytest.mark.parametrize("shapes", [((10, 2), (10, 3)), ((10,), (10, 2)), ((10, 2), (0, 2)), ((0, 2), (10, 2))])
def test_other_shapes_are_refused(metric, shapes):
    with pytest.raises(UsageError, match=r"must be \(N, "):
        metric(*(torch.zeros(s) for s in shapes))


def test_the_graph_is_left_behind():
    assert not checked_points(cloud(3, 0).requires_grad_(), "points").requires_grad


def test_one_point_is_enough_where_it_can_be():
    a, b = cloud(1, 0), cloud(1, 1)
    distance = float((a - b).norm())
    assert float(nearest_mode(a, b)) == pytest.approx(distance, rel=1e-15)
    assert share_at_modes(a, b, 1.01 * distance) == share_of_modes_found(a, b, 1.01 * distance) == 1.0
    assert nll(a, lambda x: x[:, 0]) == -float(a[0, 0])
