"""Repeated draws of a gradient at the same points: what bias and variance are measured on."""

from __future__ import annotations

import torch
from torch import Tensor

from modeseek.estimators import Estimator
from modeseek.lab.config import LabConfig
from modeseek.randomness import Streams

ROWS = 4096  # in one call


def draw(estimator: Estimator, x: Tensor, cond: Tensor | None, n: int, seed: int) -> Tensor:
    """n independent gradients at each of the points x (P, 2): (P, n, 2)."""
    parts = []
    size = max(1, ROWS // len(x))
    for first in range(0, n, size):
        ids = [(p, k) for k in range(first, min(n, first + size)) for p in range(len(x))]
        rows = x.repeat(len(ids) // len(x), 1)  # every point equally often: to VSD they are the same particles
        grad = estimator(rows, cond, rng=Streams(seed, ids), step=1).grad
        parts.append(grad.reshape(-1, len(x), x.shape[1]).transpose(0, 1))
    return torch.cat(parts, 1)


def gradients(config: LabConfig, estimator: Estimator, x: Tensor, cond: Tensor | None, n: int) -> Tensor:
    """``draw`` of the configured method; of one without noise the same draw twice.

    Drawn twice they would differ: a row's last bits depend on its place in the batch.
    """
    if config.noiseless:
        return draw(estimator, x, cond, 1, config.seed).expand(-1, 2, -1)
    return draw(estimator, x, cond, n, config.seed)
