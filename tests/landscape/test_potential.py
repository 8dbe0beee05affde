"""A field integrated: against known functions, a sparse least-squares solver, and Saint-Venant's torsion."""

import math

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from closed_forms import order
from scipy.sparse.linalg import lsqr

from modeseek.errors import UsageError
from modeseek.landscape import axis, gradient_field, integrate, residual_limit

STEPS = [20, 40, 80]


def wave(points):
    """A smooth function without symmetry, (B, 2) -> (B,)."""
    x, y = points.unbind(1)
    return torch.sin(2 * x + 0.5 * y) + 0.3 * x * y**2 + torch.exp(-(x**2) - 2 * y)


def slope(function):
    """Its gradient, by autograd."""

    def gradient(points):
        points = points.clone().requires_grad_()
        return torch.autograd.grad(function(points).sum(), points)[0]

    return gradient


def eddy(points):
    """A flow along the border of [0, 1]^2: the turned gradient of sin(pi x) sin(pi y)."""
    x, y = math.pi * points[:, 0], math.pi * points[:, 1]
    return torch.stack([x.sin() * y.cos(), -x.cos() * y.sin()], 1)


def hill(points):
    """A gradient that is orthogonal to the eddy and of the same size: that of -cos(pi x) cos(pi y) / pi."""
    x, y = math.pi * points[:, 0], math.pi * points[:, 1]
    return torch.stack([x.sin() * y.cos(), x.cos() * y.sin()], 1)


def square(gradient, n, low=0.0, high=1.0):
    """Field on an n x n grid of a square and the step."""
    xs = axis(low, high, n)
    return gradient_field(gradient, xs, xs), (high - low) / (n - 1)


def at_nodes(function, xs, ys):
    """Its values, of mean zero in the trapezoidal rule."""
    values = function(torch.cartesian_prod(xs, ys)).reshape(len(xs), len(ys))
    mean = torch.trapezoid(torch.trapezoid(values, ys), xs) / ((xs[-1] - xs[0]) * (ys[-1] - ys[0]))
    return values - mean


def test_a_gradient_gives_its_function_with_second_order():
    """LAND-1, LAND-2: values and residual, on an oblong grid with two steps; the constant is the mean."""
    errors, residuals = [], []
    for n in STEPS:
        xs, ys = axis(-1, 1.5, n + 1), axis(-0.5, 1, n // 2 + 1)
        p = integrate(gradient_field(slope(wave), xs, ys), 2.5 / n, 3.0 / n)
        truth = at_nodes(wave, xs, ys)
        errors.append(float((p.values - truth).abs().max() / truth.abs().max()))
        residuals.append(p.residual)
    assert order(errors, STEPS) == pytest.approx(2, abs=0.1)
    assert order(residuals, STEPS) == pytest.approx(2, abs=0.1)
    assert errors[-1] < 1e-3


def test_a_quadratic_is_exact():
    """LAND-1, LAND-2: the mean of a linear gradient over an edge is that of its ends."""

    def bowl(points):
        x, y = points.unbind(1)
        return 3 * x**2 - x * y + y**2 + 5 * x

    xs, ys = axis(-2, 1, 14), axis(0, 3, 9)
    p = integrate(gradient_field(slope(bowl), xs, ys), 3 / 13, 3 / 8)
    torch.testing.assert_close(p.values, at_nodes(bowl, xs, ys), rtol=0, atol=1e-12)
    assert p.residual < 1e-13


@pytest.mark.parametrize(("nx", "ny"), [(9, 9), (12, 7), (3, 10)])
def test_agrees_with_a_sparse_least_squares_solver(nx, ny):
    """LAND-1, LAND-2: scipy's lsqr on the edges, for a field that is no gradient at all."""
    field = torch.randn(nx, ny, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    dx, dy = 0.3, 0.5
    p = integrate(field, dx, dy)

    def diff(n):
        return sp.diags([-1, 1], [0, 1], shape=(n - 1, n))

    def mean(n):
        return abs(diff(n)) / 2

    def ends(n):
        return np.r_[0.5, np.ones(n - 2), 0.5]

    f = field.numpy().reshape(nx * ny, 2)
    along_x, along_y = sp.kron(diff(nx), sp.eye(ny)) / dx, sp.kron(sp.eye(nx), diff(ny)) / dy
    edges = np.r_[sp.kron(mean(nx), sp.eye(ny)) @ f[:, 0], sp.kron(sp.eye(nx), mean(ny)) @ f[:, 1]]
    root = np.sqrt(np.r_[np.kron(np.ones(nx - 1), ends(ny)), np.kron(ends(nx), np.ones(ny - 1))])
    matrix, right = sp.diags(root) @ sp.vstack([along_x, along_y]), root * edges
    solution, _, _, left = lsqr(matrix, right, atol=1e-15, btol=1e-15, iter_lim=10_000)[:4]
    solution -= np.average(solution, weights=np.kron(ends(nx), ends(ny)))
    np.testing.assert_allclose(p.values.numpy().ravel(), solution, atol=1e-10)
    assert p.residual == pytest.approx(left / np.linalg.norm(right), rel=1e-10)


def test_a_rotation_along_the_border_is_no_gradient_at_all():
    """LAND-1, LAND-2: residual 1 and nothing integrated."""
    field, h = square(eddy, 41)
    p = integrate(field, h, h)
    assert p.residual == pytest.approx(1, abs=1e-12)
    assert float(p.values.abs().max()) < 1e-13


@pytest.mark.parametrize("share", [0.1, 1.0, 3.0])
def test_a_mixed_field_is_split(share):
    """LAND-1, LAND-2: Helmholtz: the potential of the gradient part, residual s / sqrt(1 + s^2)."""
    errors = []
    for n in STEPS:
        field, h = square(lambda x: hill(x) + share * eddy(x), n + 1)
        p, xs = integrate(field, h, h), axis(0, 1, n + 1)
        truth = at_nodes(lambda x: -(math.pi * x).cos().prod(1) / math.pi, xs, xs)
        errors.append(float((p.values - truth).abs().max() * math.pi))
        # exact on any grid, since both parts are waves that fit into the square
        assert p.residual == pytest.approx(share / math.hypot(1, share), abs=1e-13)
        assert residual_limit(field, h, h) == pytest.approx(p.residual, abs=1e-13)
    assert order(errors, STEPS) == pytest.approx(2, abs=0.1)


def test_a_rigid_rotation_of_a_square_is_saint_venants_torsion():
    """LAND-1, LAND-2: what a potential cannot take of (-y, x) is torsional rigidity over polar moment.

    For a square of side a that is 0.1405770 a^4 / (a^4 / 6) (Timoshenko and Goodier, Theory of Elasticity).
    """
    squares = []
    for n in STEPS:
        field, h = square(lambda x: torch.stack([-x[:, 1], x[:, 0]], 1), n + 1, -1, 1)
        squares.append(integrate(field, h, h).residual ** 2)
    truth = 6 * 0.1405770
    assert order([abs(s - truth) for s in squares], STEPS) == pytest.approx(2, abs=0.15)
    assert residual_limit(field, h, h) ** 2 == pytest.approx(truth, abs=2e-6)


@pytest.mark.parametrize("share", [1e-3, 3e-3, 1e-2])
def test_the_limit_tells_a_rotation_from_the_grid(share):
    """LAND-2: a little rotation along the border in a gradient, where the residual of this grid is off by more."""
    field, h = square(lambda x: slope(wave)(x) + share * eddy(x), 81, -1, 1)
    power, _ = square(slope(wave), 641, -1, 1)
    truth = share * (0.5 / float(power.square().sum(-1).mean())) ** 0.5
    assert residual_limit(field, h, h) == pytest.approx(truth, rel=0.03)
    assert abs(integrate(field, h, h).residual - truth) > 2 * abs(residual_limit(field, h, h) - truth)


def test_the_limit_of_a_gradient_falls_faster_than_its_residual():
    """LAND-2: third order, while the residual is of second."""
    grids = [square(slope(wave), n + 1, -1, 1) for n in (40, 80, 160)]
    limits = [residual_limit(field, h, h) for field, h in grids]
    assert order(limits, [40, 80, 160]) == pytest.approx(3, abs=0.2)
    assert limits[-1] < 0.25 * integrate(grids[-1][0], grids[-1][1], grids[-1][1]).residual


def test_noise_stays_in_the_limit():
    """LAND-2: white noise has the same residual on every grid, here by an integral over its waves."""
    noise = torch.randn(201, 201, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    k = (torch.arange(400, dtype=torch.float64) + 0.5) * math.pi / 400
    mean, slope2 = (k / 2).cos() ** 2, (k / 2).sin() ** 2
    turned = mean[:, None] * slope2 + mean * slope2[:, None]
    expected = float((turned / (slope2[:, None] + slope2)).mean()) ** 0.5
    assert residual_limit(noise, 0.1, 0.1) == pytest.approx(expected, abs=0.02)
    assert integrate(noise, 0.1, 0.1).residual == pytest.approx(expected, abs=0.01)


def test_linear_in_the_field_and_blind_to_its_scale():
    """LAND-1, LAND-2."""
    f = torch.randn(2, 8, 9, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    both = integrate(f[0] + 2 * f[1], 0.1, 0.2)
    parts = integrate(f[0], 0.1, 0.2).values + 2 * integrate(f[1], 0.1, 0.2).values
    torch.testing.assert_close(both.values, parts, rtol=0, atol=1e-13)
    assert integrate(1e-6 * f[0], 0.1, 0.2).residual == pytest.approx(integrate(f[0], 0.1, 0.2).residual, rel=1e-12)
    single = integrate(f[0].float(), 0.1, 0.2)
    torch.testing.assert_close(single.values, integrate(f[0].float().double(), 0.1, 0.2).values, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("field", "dx", "says"),
    [
        (torch.ones(5, 5), 0.1, "three nodes or more"),
        (torch.ones(5, 5, 3), 0.1, "three nodes or more"),
        (torch.ones(2, 5, 2), 0.1, "three nodes or more"),
        (torch.full((5, 5, 2), torch.nan), 0.1, "must be finite"),
        (torch.zeros(5, 5, 2), 0.1, "must not be zero everywhere"),
        (torch.ones(5, 5, 2), 0.0, "positive steps"),
        (torch.ones(5, 5, 2), float("inf"), "positive steps"),
    ],
)
def test_refuses(field, dx, says):
    """LAND-1."""
    with pytest.raises(UsageError, match=says):
        integrate(field, dx, 0.1)


@pytest.mark.parametrize("shape", [(10, 9, 2), (9, 11, 2), (5, 9, 2), (9, 9)])
def test_the_limit_needs_every_fourth_node(shape):
    """LAND-2."""
    with pytest.raises(UsageError, match="9, 13, 17"):
        residual_limit(torch.ones(shape), 0.1, 0.1)
