"""Volume rendering of the samples of a ray, in log space."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

# (density (N,), at (N,), length (R, n), log_ahead (R,), stop) -> weights (N,), log of the transmittance behind (R,)
Composite = Callable[[Tensor, Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor]]


def composite(density: Tensor, at: Tensor, length: Tensor, log_ahead: Tensor, stop: float) -> tuple[Tensor, Tensor]:
    """``weights`` of the samples that were evaluated; the others are empty.

    Args:
        density: (N,), at the samples ``at``.
        at: (N,) index of each among R * n, rising.
        length, log_ahead, stop: as for ``weights``.

    Returns:
        weights (N,), and the log of the transmittance behind the last sample of each ray, (R,).
    """
    spread = torch.zeros_like(length).flatten().index_copy(0, at, density).view_as(length)
    w, behind = weights(spread, length, log_ahead, stop)
    return w.flatten()[at], behind


def weights(density: Tensor, length: Tensor, log_ahead: Tensor, stop: float = 0.0) -> tuple[Tensor, Tensor]:
    """What each sample adds to the picture of its ray, front to back.

    NERF-1 (Max 1995; Mildenhall et al. 2020, eq. 3): C = sum_i T_i alpha_i c_i + T_end background with
    alpha_i = 1 - exp(-density_i length_i) and log T_i = -sum_{j<i} density_j length_j. It sums to 1 with T_end.

    Args:
        density: (R, n), per unit of length.
        length: (R, n) of the pieces that the samples stand for.
        log_ahead: (R,), log of the transmittance of what lies in front of the first of these samples.
        stop: samples with less than this transmittance in front count as empty: it changes the ray by at most as much.

    Returns:
        weights T_i alpha_i, (R, n), and the log of the transmittance behind the last, (R,).
    """
    depth = density * length  # optical
    ahead = _in_front(depth, log_ahead)
    if stop > 0:  # what is behind a stopped sample is stopped too, so that pieces of rays can follow one another
        depth = torch.where(ahead.detach() >= math.log(stop), depth, 0)
        ahead = _in_front(depth, log_ahead)
    return ahead.exp() * -torch.expm1(-depth), log_ahead - depth.sum(-1)


def _in_front(depth: Tensor, log_ahead: Tensor) -> Tensor:
    return log_ahead[:, None] - torch.nn.functional.pad(depth[:, :-1].cumsum(-1), (1, 0))
