"""What every metric of points asks of them, and their distances in pieces."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from modeseek.errors import UsageError

PIECE = 2**18  # distances at a time, 2 MB: larger pieces leave the cache and are slower


def checked_points(points: Tensor, name: str, dim: int | None = None) -> Tensor:
    """The points in float64, without their graph.

    Args:
        points: (N, D), any floating dtype.
        name: of the argument, for the message.
        dim: the D that they must have, if it matters.

    Raises:
        UsageError: if there are none, they are not rows of D numbers, or one is NaN or infinite.
    """
    if points.ndim != 2 or points.numel() == 0 or (dim is not None and points.shape[1] != dim):
        raise UsageError(f"{name} must be (N, {dim or 'D'}) with N >= 1, got {(*points.shape,)}")
    bad = ~points.isfinite().all(1)
    if bool(bad.any()):
        raise UsageError(f"{name} must be finite, got NaN or infinity in {int(bad.sum())} of {len(bad)} rows")
    return points.detach().double()


def squared_distances(a: Tensor, b: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Rows of the (N, M) table of squared distances from a (N, D) to b (M, D), few at a time: (which rows, (R, M)).

    By differences: the expanded square |a|^2 + |b|^2 - 2 a.b cancels for near neighbours. Memory O(M + PIECE).
    """
    rows = max(1, PIECE // len(b))
    for start in range(0, len(a), rows):
        piece = a[start : start + rows]
        squared = (piece[:, :1] - b[:, 0]).square_()
        for d in range(1, a.shape[1]):
            squared += (piece[:, d : d + 1] - b[:, d]).square_()
        yield slice(start, start + rows), squared
