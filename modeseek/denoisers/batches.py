"""Micro-batches: a network sees a few rows at a time, so that its activations take the memory of those alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from modeseek.denoisers.base import Cond, Denoiser, spread
from modeseek.denoisers.diffusers import Ask
from modeseek.errors import UsageError
from modeseek.noise import Sigma


class MicroBatches:
    """A denoiser asked for at most ``size`` rows at a time: the same x0 row by row, the same evaluations.

    It belongs inside guidance, which doubles the rows. It saves memory where nothing is differentiated: under autograd
    the graphs of all calls are kept. A prior has it by ``Economy(network_batch=...)``.

    Args:
        denoiser: any; a row of its x0 must depend on the same row of z, sigma and cond alone.
        size: rows a call.

    Raises:
        UsageError: if size is below 1.
    """

    def __init__(self, denoiser: Denoiser, size: int) -> None:
        self.denoiser, self.size = denoiser, _checked(size)

    @property
    def sigma_min(self) -> float:
        """As the denoiser's."""
        return self.denoiser.sigma_min

    @property
    def sigma_max(self) -> float:
        """As the denoiser's."""
        return self.denoiser.sigma_max

    def cost(self, sigma: Sigma) -> int:
        """As the denoiser's: it counts rows, not calls."""
        return self.denoiser.cost(sigma)

    def __call__(self, z: Tensor, sigma: Sigma, cond: Cond = None) -> Tensor:
        """x0 (B, *event) for z of that shape, sigma a number or (B,), cond of B rows or one.

        Raises:
            UsageError: for a condition of another number of rows.
        """

        def call(rows: slice, part: Cond) -> Tensor:
            level = sigma[rows] if isinstance(sigma, Tensor) and sigma.ndim else sigma
            return self.denoiser(z[rows], level, part)

        return _by_rows(call, len(z), self.size, cond)


@dataclass(frozen=True)
class MicroBatchedAsk:
    """``MicroBatches`` for a prior's network: a way to call it (``denoisers.networks``) that is put around another.

    There it is inside all that asks this network: guidance, a sampler's first step, the copy that carries a LoRA.

    Attributes:
        ask: how the network is called.
        size: rows a call.

    Raises:
        UsageError: if size is below 1.
    """

    ask: Ask
    size: int

    def __post_init__(self) -> None:
        _checked(self.size)

    def __call__(self, network: Any, z: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """The network's output for z (B, *event), time (B,) and cond of B rows or one."""
        return _by_rows(lambda rows, part: self.ask(network, z[rows], t[rows], part), len(z), self.size, cond)


def _by_rows(call: Callable[[slice, Cond], Tensor], batch: int, size: int, cond: Cond) -> Tensor:
    """The answers for ``batch`` rows, ``size`` at a time, one after the other."""
    if batch <= size:
        return call(slice(0, batch), cond)
    return torch.cat([call(rows, _part(cond, rows, batch)) for rows in _slices(batch, size)])


def _slices(batch: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, batch)) for start in range(0, batch, size))


def _part(cond: Cond, rows: slice, batch: int) -> Cond:
    """Rows of a condition; spread before it is cut, so that a wrong number of rows does not pass for one."""
    if isinstance(cond, Tensor):
        return spread(cond, batch)[rows]
    return None if cond is None else {k: spread(v, batch)[rows] for k, v in cond.items()}


def _checked(size: int) -> int:
    if size < 1:
        raise UsageError(f"a micro-batch must have at least 1 row, got {size}")
    return size
