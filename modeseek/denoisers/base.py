"""What a denoiser is, and how its evaluations are counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from modeseek.errors import UsageError
from modeseek.noise import Sigma, largest, smallest

Cond = Tensor | Mapping[str, Tensor] | None  # a condition; rows are samples; None is unconditional


class Denoiser(Protocol):
    """``D(z; sigma) = E[x | z]``. Any object with these four members is one; nothing needs to be subclassed."""

    @property
    def sigma_min(self) -> float:
        """Below this level the answer is the one at this level."""

    @property
    def sigma_max(self) -> float:
        """Above this level the denoiser does not know."""

    def cost(self, sigma: Sigma) -> int:
        """Network evaluations per batch element of a call at ``sigma``."""

    def __call__(self, z: Tensor, sigma: Sigma, cond: Cond = None) -> Tensor:
        """x0 of shape (B, *event) for z of that shape, sigma a number or (B,), cond of B rows or one."""


class Counting:
    """A denoiser that counts: evaluations per batch element, and whether a level fell below the model's smallest."""

    def __init__(self, denoiser: Denoiser) -> None:
        self.denoiser = denoiser
        self.nfe = 0
        self.clamped = False

    @property
    def sigma_min(self) -> float:
        """As the denoiser's."""
        return self.denoiser.sigma_min

    @property
    def sigma_max(self) -> float:
        """As the denoiser's."""
        return self.denoiser.sigma_max

    def cost(self, sigma: Sigma) -> int:
        """As the denoiser's."""
        return self.denoiser.cost(sigma)

    def __call__(self, z: Tensor, sigma: Sigma, cond: Cond = None) -> Tensor:
        """As the denoiser's."""
        self.nfe += self.denoiser.cost(sigma)
        # relative: the levels of a table come back from float32 with a rounding error
        self.clamped |= smallest(sigma) < self.denoiser.sigma_min * (1 - 1e-5)
        return self.denoiser(z, sigma, cond)


def check_level(denoiser: Denoiser, sigma: Sigma, name: str) -> None:
    """Refuse a level above what the denoiser knows.

    Raises:
        UsageError: naming the argument, its value and the limit.
    """
    if largest(sigma) > denoiser.sigma_max * (1 + 1e-5):
        raise UsageError(
            f"{name} must be at most the model's sigma_max {denoiser.sigma_max:.4g}, got {largest(sigma):.4g}"
        )


def concatenate(first: Cond, second: Cond, batch: int) -> Cond:
    """Rows of two conditions one after the other, each spread to ``batch`` rows."""
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return torch.cat([spread(first, batch), spread(second, batch)])
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return {k: torch.cat([spread(first[k], batch), spread(second[k], batch)]) for k in first}
    raise UsageError(f"conditions must be of one kind, got {type(first).__name__} and {type(second).__name__}")


def spread(cond: Tensor, batch: int) -> Tensor:
    """A condition of ``batch`` rows, or of one that is used for all.

    Raises:
        UsageError: if there are neither 1 nor ``batch`` rows.
    """
    if cond.shape[0] not in (1, batch):
        raise UsageError(f"a condition must have 1 or {batch} rows, got {cond.shape[0]}")
    return cond.expand(batch, *cond.shape[1:])


def repeat_cond(cond: Cond, n: int) -> Cond:
    """Each row of a condition n times, neighbours in the batch; a single row stays one."""
    if isinstance(cond, Tensor):
        return cond if cond.shape[0] == 1 else cond.repeat_interleave(n, 0)
    if cond is None:
        return None
    return {k: (v if v.shape[0] == 1 else v.repeat_interleave(n, 0)) for k, v in cond.items()}
