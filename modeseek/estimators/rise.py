"""SDI's way up: levels of an inversion, each sample its own, and the steps between them."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

from modeseek.denoisers.base import Cond, Denoiser
from modeseek.methods import Fresh
from modeseek.noise import NoiseTable, Sigma, column
from modeseek.randomness import Rng, normal
from modeseek.samplers.inversion import capped

OFFSET = 1  # the original's grid is 1, 101, ..., 901: "leading" spacing with an offset of one timestep


def rising(table: NoiseTable, steps: int, start: float, below: Tensor, end: Tensor) -> Tensor:
    """Levels from ``start`` over the timesteps ``1 + k T / steps`` smaller than ``below`` to ``end``. Equation SDI-1.

    A sample that has arrived waits: its level stays at its end. Where no sample would move there is no level.

    Args:
        table: of T timesteps.
        steps: of an inversion over the whole table.
        start: level at the bottom, raised to by no sample whose end lies below it.
        below: (B,) timesteps.
        end: (B,) timesteps, at least ``below``.

    Returns:
        (K, B), float64 on the CPU, rising down each column; K is 1 where nothing is inverted.
    """
    last = table.sigma(end)
    rows = [last.clamp(max=start)]
    for k in range(steps):
        timestep = OFFSET + math.floor(k * len(table) / steps)
        if timestep < len(table):
            rows.append(table.sigma(torch.tensor(timestep)).where(below > timestep, last).maximum(rows[-1]))
    rows.append(last)
    return torch.stack([rows[0], *(b for a, b in pairwise(rows) if bool((b > a).any()))])


def asked(levels: Tensor) -> list[Sigma]:
    """What a denoiser is asked on the way up ``levels`` (K, B): K - 1 levels; a 0 is taken as the next one."""
    return [one(low.where(low > 0, high)) for low, high in pairwise(levels)]


def one(sigma: Tensor) -> Sigma:
    """Levels (B,) as one number where they are the same."""
    return float(sigma[0]) if bool((sigma == sigma[0]).all()) else sigma


def rise(
    denoiser: Denoiser,
    x: Tensor,
    levels: Tensor,
    cond: Cond,
    *,
    eta: float,
    fresh: Fresh,
    max_eps: float,
    rng: Rng,
) -> Tensor:
    """DDIM inversion of x (B, *event) up ``levels`` (K, B), with fresh noise. Equations DDIM-4 and SDI-3.

    Args:
        fresh: exchanged: as much of the step is taken back as noise is added, so that noisy data stay noisy data
            (DDIM-4); added: on top of the whole step, as the public SDI does (SDI-3).
        eta: share of fresh noise.
        max_eps: cap on the predicted noise, see ``samplers.inversion.invert``.
    """
    z = x
    for sigma, low, high in zip(asked(levels), levels, levels[1:]):
        seen = sigma.to(x.device, x.dtype) if isinstance(sigma, Tensor) else sigma
        eps_hat = capped((z - denoiser(z, seen, cond)) / column(seen, z), max_eps)
        up = noise_level(low, high, eta, fresh)
        to = high if fresh == "added" else (high**2 - up**2).sqrt()
        z = z + column(to - low, z) * eps_hat
        if eta > 0:
            z = z + column(up, z) * normal(rng, z)
    return z


def noise_level(low: Tensor, high: Tensor, eta: float, fresh: Fresh) -> Tensor:
    """Standard deviation of the noise that a step from ``low`` to ``high`` adds. Equations DDIM-4 and SDI-3.

    exchanged: ``eta sqrt(high^2 - low^2)``. added: the public SDI's ``eta sqrt(var)`` in sigma coordinates, where
    ``var = (1 - ab_low) / (1 - ab_high) (1 - ab_high / ab_low)``: the same times ``s_low / s_high``, ``s^2 = 1 - ab``.
    """
    up = eta * (high**2 - low**2).sqrt()
    if fresh == "exchanged":
        return up
    return up * (low / high) * ((1 + high**2) / (1 + low**2)).sqrt()
