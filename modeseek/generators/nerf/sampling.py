"""Where along its ray a picture is sampled: even pieces, and more of them where the object is."""

from __future__ import annotations

import torch
from torch import Tensor


def pieces(near: Tensor, far: Tensor, n: int) -> Tensor:
    """Edges (R, n + 1) of n equal pieces of each ray from ``near`` (R,) to ``far`` (R,)."""
    share = torch.arange(n + 1, dtype=near.dtype, device=near.device) / n
    return near[:, None] + (far - near)[:, None] * share


def within(edges: Tensor, jitter: Tensor | None) -> Tensor:
    """One distance (R, n) in each piece: its middle, or ``jitter`` (R, n) in [0, 1) of the way (stratified)."""
    start, length = edges[:, :-1], edges.diff(dim=-1)
    return start + length * (0.5 if jitter is None else jitter)


def refine(edges: Tensor, weights: Tensor, more: int, offset: Tensor | None = None, *, floor: float = 1e-5) -> Tensor:
    """The pieces cut further where their weights are large: importance sampling by inverse transform.

    NERF-2 (Mildenhall et al. 2020, section 5.2): ``more`` distances drawn from the density that is constant in each
    piece and proportional to its weight; here systematically, at the quantiles (k + offset) / more.

    Args:
        edges: (R, n + 1), rising.
        weights: (R, n), at least 0.
        more: distances to add.
        offset: (R,) in [0, 1), one for each ray; None is 1/2.
        floor: added to each weight, so that a ray that met nothing is cut evenly (NeRF's 1e-5).

    Returns:
        Edges (R, n + 1 + more), rising: the old ones and the new.
    """
    mass = (weights + floor).cumsum(-1)
    share = torch.nn.functional.pad(mass / mass[:, -1:], (1, 0))
    steps = torch.arange(more, dtype=edges.dtype, device=edges.device)
    quantiles = (steps + (0.5 if offset is None else offset[:, None])).expand(len(edges), more) / more
    piece = torch.searchsorted(share[:, 1:-1].contiguous(), quantiles.contiguous(), right=True)
    low, high = share.gather(1, piece), share.gather(1, piece + 1)
    start, end = edges.gather(1, piece), edges.gather(1, piece + 1)
    drawn = start + (end - start) * ((quantiles - low) / (high - low)).clamp(0, 1)
    return torch.cat([edges, drawn], -1).sort(-1).values
