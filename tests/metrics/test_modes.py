"""Distances to the modes against scipy's tree."""

import numpy as np
import pytest
import torch
from closed_forms import t64
from scipy.spatial import cKDTree

from modeseek.errors import UsageError
from modeseek.metrics import nearest_mode, share_at_modes, share_of_modes_found


@pytest.fixture
def sets():
    rng = np.random.default_rng(0)
    return rng.normal(size=(500, 2)), rng.normal(size=(40, 2)) * 1.5


def test_agrees_with_a_tree(sets):
    """MODE-1."""
    points, modes = sets
    to_mode, to_point = cKDTree(modes).query(points)[0], cKDTree(points).query(modes)[0]
    np.testing.assert_allclose(nearest_mode(t64(points), t64(modes)).numpy(), to_mode, rtol=1e-13)
    for within in (0.05, 0.2, 0.6):
        assert share_at_modes(t64(points), t64(modes), within) == (to_mode <= within).mean()
        assert share_of_modes_found(t64(points), t64(modes), within) == (to_point <= within).mean()


def test_by_hand():
    """MODE-1: three of four points are at modes, which are two of three; the radius itself counts."""
    modes = t64([[0.0, 0.0], [1.0, 0.0], [9.0, 0.0]])
    points = t64([[0.0, 0.25], [0.0, -0.1], [1.25, 0.0], [4.0, 0.0]])
    assert share_at_modes(points, modes, 0.25) == 0.75
    assert share_of_modes_found(points, modes, 0.25) == pytest.approx(2 / 3)
    assert nearest_mode(points, modes).tolist() == [0.25, 0.1, 0.25, 3.0]


def test_collapsed_points_find_one_mode():
    """MODE-1: all at a mode, few modes found: two numbers, not one."""
    modes = t64([[float(i), 0.0] for i in range(8)])
    points = modes[:1].expand(100, 2)
    assert share_at_modes(points, modes, 0.1) == 1.0
    assert share_of_modes_found(points, modes, 0.1) == 1 / 8


@pytest.mark.parametrize("share", [share_at_modes, share_of_modes_found])
@pytest.mark.parametrize("within", [0.0, -1.0, float("nan"), float("inf")])
def test_the_radius_must_be_positive(share, within):
    """MODE-1."""
    with pytest.raises(UsageError, match="within must be a positive distance"):
        share(torch.zeros(3, 2), torch.zeros(2, 2), within)


def test_messages_name_the_right_argument():
    """MODE-1: although finding modes is asking the other way round."""
    good, bad = torch.zeros(3, 2), torch.zeros(3, 3)
    for share in (share_at_modes, share_of_modes_found):
        with pytest.raises(UsageError, match=r"points must be \(N, 2\)"):
            share(bad, good, 0.1)
        with pytest.raises(UsageError, match="modes must be finite"):
            share(good, good * torch.nan, 0.1)
