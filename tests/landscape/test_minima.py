"""Minima between the nodes, and which of them are modes."""

import numpy as np
import pytest
import torch
from closed_forms import order, t64

from modeseek.errors import UsageError
from modeseek.landscape import axis, compare, minima


def on_grid(function, xs, ys):
    return function(*torch.meshgrid(xs, ys, indexing="ij"))


def sorted_rows(points):
    return np.array(sorted(points.tolist()))


@pytest.mark.parametrize("centre", [(0.0, 0.0), (0.013, -0.021), (0.05, 0.05), (0.05, 0.0), (-0.031, 0.0499)])
def test_a_quadratic_is_exact(centre):
    """LAND-3: also tilted, and halfway between two or four nodes, where neighbours are equal."""
    xs, ys = axis(-1, 1, 21), axis(-1, 1, 21)
    for twist in (0.0, 0.7):
        values = on_grid(
            lambda x, y, t=twist: (
                (x - centre[0]) ** 2 + 2 * (y - centre[1]) ** 2 + t * (x - centre[0]) * (y - centre[1])
            ),
            xs,
            ys,
        )
        np.testing.assert_allclose(minima(values, xs, ys).numpy(), [centre], atol=1e-12)


def test_second_order_between_the_nodes():
    """LAND-3: sin(x) + cos(1.3 y) + x y / 10; the place by Newton's method."""

    def slope(p):
        return np.array([np.cos(p[0]) + p[1] / 10, -1.3 * np.sin(1.3 * p[1]) + p[0] / 10])

    def bend(p):
        return np.array([[-np.sin(p[0]), 0.1], [0.1, -(1.3**2) * np.cos(1.3 * p[1])]])

    truth = np.array([-1.5, 2.3])
    for _ in range(20):
        truth = truth - np.linalg.solve(bend(truth), slope(truth))
    assert np.linalg.eigvalsh(bend(truth)).min() > 0
    errors, steps = [], [10, 20, 40, 80, 160]
    for n in steps:
        xs, ys = axis(-3, 0.1, n + 1), axis(1, 4, n + 1)
        found = minima(on_grid(lambda x, y: x.sin() + (1.3 * y).cos() + x * y / 10, xs, ys), xs, ys)
        assert len(found) == 1
        errors.append(float(np.linalg.norm(found[0].numpy() - truth)))
    assert order(errors, steps) > 1.5
    assert errors[-1] < 0.05 * 3.1 / 160


def test_all_minima_and_no_saddle_or_maximum():
    """LAND-3: cos x + cos y has one in every cell of its lattice; oblong grid, two steps."""
    xs, ys = axis(0.1, 12.1, 181), axis(-0.3, 6.6, 131)
    found = sorted_rows(minima(on_grid(lambda x, y: x.cos() + y.cos(), xs, ys), xs, ys))
    np.testing.assert_allclose(
        found, [[np.pi, np.pi], [3 * np.pi, np.pi]], atol=1e-5
    )  # quadratic fit: third order here


def test_the_border_and_what_is_flat_have_none():
    """LAND-3: a slope, a constant, a valley without end, and rounding on a plain."""
    xs = axis(-1, 1, 21)
    x, y = torch.meshgrid(xs, xs, indexing="ij")
    noise = 1e-15 * torch.randn(21, 21, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    plain = noise + (x - 1).clamp(min=-0.05)
    valleys = (x**2, (x - y) ** 2, (x - y) ** 2 + noise, y**2 + noise)
    for values in (x + y, torch.zeros_like(x), *valleys, -(x**2) - y**2, plain):
        assert minima(values, xs, xs).shape == (0, 2)
    assert len(minima(plain, xs, xs, flat=0)) > 0


@pytest.mark.parametrize("centre", [(0.5, 0.5), (0.5, 0.0), (0.0, -0.5)])
def test_equal_neighbours_have_one_minimum(centre):
    """LAND-3: on whole numbers two or four nodes around it are equal to the last bit."""
    xs = axis(-4, 4, 9)
    values = on_grid(lambda x, y: (x - centre[0]) ** 2 + 2 * (y - centre[1]) ** 2, xs, xs)
    assert (values == values.min()).sum() >= 2
    assert minima(values, xs, xs).tolist() == [list(centre)]


@pytest.mark.parametrize(("corner", "place"), [(2.0, [0.0, 2.0]), (3.1, [1.0, 1.0])])
def test_a_quadratic_that_leads_astray(corner, place):
    """LAND-3: its minimum eight steps away is cut to the neighbours; where it is a saddle, the node itself is taken."""
    values = t64([[corner, 0.1, 0.1], [0.9, 0.0, 0.1], [0.1, 0.9, corner]])
    xs = axis(0, 2, 3)
    assert minima(values, xs, xs).tolist() == [place]


def test_modes_found_missed_and_phantoms():
    """LAND-3: by hand; the distance itself counts; one minimum may serve two modes."""
    modes = t64([[0.0, 0.0], [1.0, 0.0], [1.1, 0.0], [5.0, 5.0]])
    lowest = t64([[0.0, 0.25], [1.05, 0.0], [3.0, 3.0], [-0.3, 0.0]])
    c = compare(lowest, modes, 0.25)
    assert c.found.tolist() == [[0.0, 0.0], [1.0, 0.0], [1.1, 0.0]]
    assert c.missed.tolist() == [[5.0, 5.0]]
    assert c.phantom.tolist() == [[3.0, 3.0], [-0.3, 0.0]]


def test_nothing_is_compared_with_nothing():
    """LAND-3."""
    none, one = torch.empty(0, 2), torch.zeros(1, 2)
    assert [len(p) for p in (compare(none, one, 0.1).missed, compare(one, none, 0.1).phantom)] == [1, 1]
    assert len(compare(none, none, 0.1).found) == 0


def test_refuses():
    """LAND-3."""
    xs, values = axis(0, 1, 5), torch.zeros(5, 5)
    with pytest.raises(UsageError, match=r"values must be \(5, 6\)"):
        minima(values, xs, axis(0, 1, 6))
    with pytest.raises(UsageError, match="equidistant"):
        minima(values, xs**2, xs)
    with pytest.raises(UsageError, match=r"must be \(M, 2\) and \(K, 2\)"):
        compare(torch.zeros(3), torch.zeros(3, 2), 0.1)
    for within in (0.0, float("nan")):
        with pytest.raises(UsageError, match="within must be a positive distance"):
            compare(torch.zeros(1, 2), torch.zeros(1, 2), within)
