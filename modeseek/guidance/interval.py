"""Guidance in a limited interval of noise levels (Kynkäänniemi et al. 2024)."""

from __future__ import annotations

from torch import Tensor

from modeseek.denoisers.base import Cond, Denoiser
from modeseek.errors import UsageError
from modeseek.noise import Sigma, column, largest, smallest


class LimitedInterval:
    """``guided`` where low <= sigma <= high, ``plain`` elsewhere. Equation CFG-2.

    Raises:
        UsageError: if not 0 <= low < high.
    """

    def __init__(self, guided: Denoiser, plain: Denoiser, low: float, high: float) -> None:
        if not 0 <= low < high:
            raise UsageError(f"the guidance interval must satisfy 0 <= low < high, got ({low}, {high})")
        self.guided, self.plain, self.low, self.high = guided, plain, low, high

    @property
    def sigma_min(self) -> float:
        """As the guided denoiser's."""
        return self.guided.sigma_min

    @property
    def sigma_max(self) -> float:
        """As the guided denoiser's."""
        return self.guided.sigma_max

    def cost(self, sigma: Sigma) -> int:
        """Of the branch taken; of both for a batch whose levels lie on both sides."""
        inside = smallest(sigma) <= self.high and largest(sigma) >= self.low
        outside = smallest(sigma) < self.low or largest(sigma) > self.high
        return inside * self.guided.cost(sigma) + outside * self.plain.cost(sigma)

    def __call__(self, z: Tensor, sigma: Sigma, cond: Cond = None) -> Tensor:
        """x0 of the branch that holds at each sample's level."""
        if smallest(sigma) >= self.low and largest(sigma) <= self.high:
            return self.guided(z, sigma, cond)
        if largest(sigma) < self.low or smallest(sigma) > self.high:
            return self.plain(z, sigma, cond)
        levels = column(sigma, z)
        inside = (levels >= self.low) & (levels <= self.high)
        return self.guided(z, sigma, cond).where(inside, self.plain(z, sigma, cond))
