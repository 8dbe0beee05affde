"""The function whose gradient is nearest to a field on a grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from modeseek.errors import UsageError


@dataclass(frozen=True)
class Potential:
    """A function on a grid and how well its gradient is the field.

    Attributes:
        values: (nx, ny), float64, of mean zero in the trapezoidal rule.
        residual: ``|grad phi - field| / |field|``: 0 for a gradient, 1 for a rotation. Equation LAND-2.
    """

    values: Tensor
    residual: float


def integrate(field: Tensor, dx: float, dy: float) -> Potential:
    """Least-squares solution of ``grad phi = field``. Equations LAND-1 and LAND-2.

    Forward differences of phi on the edges of the grid against the mean of the field at an edge's two ends; an edge
    weighs the area that it stands for (half at the border), so that sums are integrals up to second order. The normal
    equations are a Poisson problem whose border condition, ``d phi / dn = field . n``, comes by itself. They are solved
    exactly: both path Laplacians have the cosines as eigenvectors. Time O(nx ny (nx + ny)).

    Where the field is no gradient this is its Helmholtz split: what is left has no divergence and runs along the
    border. For a smooth gradient the residual is second order in the step; see ``residual_limit``.

    Args:
        field: (nx, ny, 2), nx, ny >= 3; entry [i, j] at node (i dx, j dy).
        dx: step along the first axis.
        dy: step along the second.

    Raises:
        UsageError: if the field is not such a grid, not finite or zero everywhere, or a step is not positive.
    """
    _check(field, dx, dy)
    field = field.double()
    nx, ny = field.shape[:2]
    edges_x = (field[1:, :, 0] + field[:-1, :, 0]) / 2
    edges_y = (field[:, 1:, 1] + field[:, :-1, 1]) / 2
    wx, wy = _weights(nx), _weights(ny)
    divergence = _gather(edges_x * wy, 0) / dx + _gather(edges_y * wx[:, None], 1) / dy
    (cx, lx), (cy, ly) = _cosines(nx), _cosines(ny)
    levels = lx[:, None] / dx**2 + ly / dy**2
    levels[0, 0] = math.inf  # the constant, which the field does not tell
    values = cx @ (cx.T @ divergence @ cy / levels) @ cy.T
    off_x, off_y = values.diff(dim=0) / dx - edges_x, values.diff(dim=1) / dy - edges_y

    def square(on_x: Tensor, on_y: Tensor) -> Tensor:
        return (on_x.square() * wy).sum() + (on_y.square() * wx[:, None]).sum()

    power = square(edges_x, edges_y)
    if not bool(power > 0):
        raise UsageError("the field must not be zero everywhere or cancel between neighbours, got zero on every edge")
    return Potential(values, float((square(off_x, off_y) / power).sqrt()))


def residual_limit(field: Tensor, dx: float, dy: float) -> float:
    """The residual extrapolated to a step of zero: what no finer grid takes away. Equation LAND-2.

    ``sqrt((64 r_h^2 - 20 r_2h^2 + r_4h^2) / 45)``, cut at 0, from this grid and every second and fourth node of it: the
    squares have a part in h^2 and one in h^4, of which a gradient has the second. What is then left of a smooth
    gradient is third order in the step; noise of the field stays.

    Raises:
        UsageError: as ``integrate``, and if an axis has not 9, 13, 17, ... nodes.
    """
    if field.ndim != 3 or not all(map(refines, field.shape[:2])):
        raise UsageError(f"the field must have 9, 13, 17, ... nodes on each axis, got {(*field.shape,)}")
    squares = [integrate(field[::k, ::k], k * dx, k * dy).residual ** 2 for k in (1, 2, 4)]
    return math.sqrt(max(64 * squares[0] - 20 * squares[1] + squares[2], 0.0) / 45)


def refines(nodes: int) -> bool:
    """Whether every fourth node of an axis reaches its end, and makes a grid."""
    return nodes >= 9 and nodes % 4 == 1


def _weights(n: int) -> Tensor:
    """Trapezoidal rule: half at the two ends."""
    weights = torch.ones(n, dtype=torch.float64)
    weights[0] = weights[-1] = 0.5
    return weights


def _gather(edges: Tensor, dim: int) -> Tensor:
    """Transpose of ``diff``: each edge is added to its end and taken from its start."""
    shape = list(edges.shape)
    shape[dim] = 1
    border = edges.new_zeros(shape)
    return -torch.cat([border, edges, border], dim).diff(dim=dim)


def _cosines(n: int) -> tuple[Tensor, Tensor]:
    """Eigenvectors (columns) and eigenvalues of the path Laplacian, ``L c = l W c`` and ``c^T W c = 1``."""
    k = torch.arange(n, dtype=torch.float64)
    angles = math.pi / (n - 1) * (k[:, None] * k).remainder(2 * (n - 1))
    scale = (_weights(n) * 2 / (n - 1)).sqrt()
    return angles.cos() * scale, 2 - 2 * (math.pi / (n - 1) * k).cos()


def _check(field: Tensor, dx: float, dy: float) -> None:
    if field.ndim != 3 or field.shape[2] != 2 or min(field.shape[:2]) < 3:
        raise UsageError(f"the field must be (nx, ny, 2) with three nodes or more on each axis, got {(*field.shape,)}")
    if not bool(field.isfinite().all()):
        raise UsageError("the field must be finite, got NaN or infinity")
    if not (0 < dx < math.inf and 0 < dy < math.inf):
        raise UsageError(f"dx and dy must be positive steps, got {dx} and {dy}")
