"""A gradient on a grid of the plane."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from modeseek.errors import NonFiniteError, UsageError

Gradient = Callable[[Tensor], Tensor]  # points (B, 2) -> descent directions (B, 2)


def axis(low: float, high: float, n: int) -> Tensor:
    """n equidistant coordinates from low to high, float64.

    Raises:
        UsageError: if there are fewer than three, or low is not below high.
    """
    if n < 3 or not low < high:
        raise UsageError(f"an axis must have three nodes or more from low to high, got {n} from {low} to {high}")
    return torch.linspace(low, high, n, dtype=torch.float64)


def step(nodes: Tensor, name: str) -> float:
    """Distance of neighbouring nodes of an axis.

    Raises:
        UsageError: if they are not three or more equidistant rising coordinates.
    """
    gaps = nodes.double().diff() if nodes.ndim == 1 else nodes.new_zeros(0)
    if len(gaps) < 2 or not bool(gaps.min() > 0) or float(gaps.max() - gaps.min()) > 1e-4 * float(gaps.mean()):
        raise UsageError(f"{name} must be three or more equidistant rising coordinates, got shape {(*nodes.shape,)}")
    return float(gaps.mean())


def gradient_field(gradient: Gradient, xs: Tensor, ys: Tensor, batch: int = 4096) -> Tensor:
    """The gradient at every node, (nx, ny, 2), float64; entry [i, j] is at (xs[i], ys[j]).

    Args:
        gradient: the descent direction at points (B, 2), as ``Estimate.grad`` has it; called for ``batch`` nodes at a
            time, y fastest, in the axes' dtype. Its own noise stays in the field: give a mean over draws.
        xs: (nx,) coordinates of the nodes.
        ys: (ny,).
        batch: nodes in a call.

    Raises:
        UsageError: if the gradient has another shape than the points.
        NonFiniteError: if it is NaN or infinite somewhere, naming the first such point.
    """
    nodes = torch.cartesian_prod(xs, ys)
    field = torch.empty(nodes.shape, dtype=torch.float64)
    for start in range(0, len(nodes), batch):
        points = nodes[start : start + batch]
        values = gradient(points)
        if values.shape != points.shape:
            raise UsageError(f"gradient must give {(*points.shape,)} for {(*points.shape,)}, got {(*values.shape,)}")
        bad = ~values.isfinite().all(1)
        if bool(bad.any()):
            raise NonFiniteError(f"the gradient must be finite, got NaN or infinity at {points[bad][0].tolist()}")
        field[start : start + batch] = values.detach().to("cpu", torch.float64)
    return field.reshape(len(xs), len(ys), 2)
