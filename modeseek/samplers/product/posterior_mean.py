"""The mean of the product density, without sampling."""

from __future__ import annotations

from typing import Self

from torch import Tensor

from modeseek.denoisers.base import Cond, Denoiser, check_level
from modeseek.methods import ProductOptions
from modeseek.randomness import Rng
from modeseek.samplers.product.base import Grid, ProductSampler


class PosteriorMean(ProductSampler):
    """``y = D(x; h)``, so that ``y - x = h^2 grad log p_h(x)`` exactly. Equation MSD-6.

    The product density is the posterior of clean data given the noisy look ``x`` at level h; this is its mean. With an
    exact denoiser nothing can beat it. A learned one in high dimension never saw an ``x`` without noise at level h.
    """

    @classmethod
    def build(cls, grid: Grid, options: ProductOptions, plain: Denoiser) -> Self:
        """Needs neither grid nor options."""
        return cls()

    def nfe(self, denoiser: Denoiser, bandwidth: float) -> int:
        """One evaluation."""
        return denoiser.cost(bandwidth)

    def draw(self, denoiser: Denoiser, x: Tensor, bandwidth: float, cond: Cond, rng: Rng) -> Tensor:
        """``D(x; h)``; draws nothing.

        Raises:
            UsageError: if the bandwidth is above the model's sigma_max.
        """
        check_level(denoiser, bandwidth, "bandwidth of posterior_mean")
        return denoiser(x, bandwidth, cond)
