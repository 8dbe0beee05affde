"""A method's landscape in one call."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from modeseek.landscape.field import Gradient, gradient_field, step
from modeseek.landscape.minima import minima
from modeseek.landscape.potential import integrate, refines, residual_limit
from modeseek.landscape.settle import settle


@dataclass(frozen=True)
class Landscape:
    """What a method descends, in the plane.

    Attributes:
        xs: (nx,) coordinates of the nodes.
        ys: (ny,).
        field: (nx, ny, 2), the method's gradient, downhill as an optimiser takes it: it points up the potential.
        potential: (nx, ny), the function whose gradient is nearest to the field, of mean zero.
        residual: share of the field that is no gradient, 0 to 1, with the grid's own second-order part.
        residual_limit: the same without the grid's part; NaN unless both axes have 9, 13, 17, ... nodes.
        minima: (M, 2), where the method comes to rest.
    """

    xs: Tensor
    ys: Tensor
    field: Tensor
    potential: Tensor
    residual: float
    residual_limit: float
    minima: Tensor


def survey(gradient: Gradient, xs: Tensor, ys: Tensor, batch: int = 4096) -> Landscape:
    """Evaluate a gradient on a grid, integrate it, find the minima. Equations LAND-1 to LAND-4.

    For the mean shift, ``gradient = x - D(x; h)``, the potential is ``-h^2 log p_h`` up to a constant.

    Args:
        gradient: the descent direction at points (B, 2).
        xs: (nx,) equidistant coordinates of the nodes, as ``axis`` gives them.
        ys: (ny,).
        batch: nodes in a call of the gradient.

    Raises:
        UsageError: if the axes are not equidistant, the gradient has a wrong shape or is zero everywhere.
        NonFiniteError: if the gradient is NaN or infinite somewhere.
    """
    length = max(step(xs, "xs"), step(ys, "ys"))
    found = from_field(gradient_field(gradient, xs, ys, batch), xs, ys)
    rest = settle(gradient, found.minima, length)
    inside = ((rest > torch.stack([xs[0], ys[0]])) & (rest < torch.stack([xs[-1], ys[-1]]))).all(1)
    return replace(found, minima=rest[inside])


def from_field(field: Tensor, xs: Tensor, ys: Tensor, rest: Tensor | None = None) -> Landscape:
    """The landscape of a field (nx, ny, 2) that is known already, see ``survey``.

    Args:
        field: on the nodes.
        xs: (nx,).
        ys: (ny,).
        rest: (M, 2), its minima; those of the grid if not given, which has false ones on narrow ridges.

    Raises:
        UsageError: if the axes are not equidistant or the field is zero everywhere.
    """
    dx, dy = step(xs, "xs"), step(ys, "ys")
    potential = integrate(field, dx, dy)
    limit = residual_limit(field, dx, dy) if all(map(refines, field.shape[:2])) else float("nan")
    rest = minima(potential.values, xs, ys) if rest is None else rest
    return Landscape(xs, ys, field, potential.values, potential.residual, limit, rest)
