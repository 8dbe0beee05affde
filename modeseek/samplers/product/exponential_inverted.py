"""The contraction towards the inversion of x: the supplement's Algorithm 2, the variant that stays in distribution."""

from __future__ import annotations

import itertools
from typing import Self

from torch import Tensor

from modeseek.denoisers.base import Cond, Denoiser
from modeseek.methods import ProductOptions
from modeseek.randomness import Rng, normal
from modeseek.samplers.ddim import ddim_step
from modeseek.samplers.inversion import invert
from modeseek.samplers.product.base import Grid, ProductSampler
from modeseek.samplers.product.exponential import contractions


class ExponentialInverted(ProductSampler):
    """As ``Exponential`` with the centre at each level on the inversion trajectory of x. Equation MSD-15, noise-scaled.

    Args:
        grid: levels for both passes.
        options: kernel interval, clock, cap on the inversion's noise, printed start.
        plain: the model for the inversion, unguided; the sampling pass's own where not given.
    """

    def __init__(self, grid: Grid, options: ProductOptions | None = None, plain: Denoiser | None = None) -> None:
        self.grid, self.options, self.plain = grid, options or ProductOptions(), plain

    @classmethod
    def build(cls, grid: Grid, options: ProductOptions, plain: Denoiser) -> Self:
        """The sampler on a grid; ``plain`` inverts."""
        return cls(grid, options, plain)

    def nfe(self, denoiser: Denoiser, bandwidth: float) -> int:
        """T evaluations up, T down."""
        sigmas = self.grid.sigmas.tolist()
        up = [s if s > 0 else above for s, above in zip(sigmas[1:], sigmas[:-1])]
        return sum((self.plain or denoiser).cost(s) for s in up) + sum(denoiser.cost(s) for s in sigmas[:-1])

    def draw(self, denoiser: Denoiser, x: Tensor, bandwidth: float, cond: Cond, rng: Rng) -> Tensor:
        """Invert, draw the starting noise, integrate."""
        anchors = invert(self.plain or denoiser, x, self.grid.sigmas, cond, max_eps=self.options.max_eps)
        return self.solve(denoiser, x, bandwidth, cond, normal(rng, x), anchors)

    def solve(
        self, denoiser: Denoiser, x: Tensor, bandwidth: float, cond: Cond, eps: Tensor, anchors: list[Tensor]
    ) -> Tensor:
        """The deterministic core: y for given starting noise and inversion trajectory (one z for every level)."""
        sigmas: list[float] = self.grid.sigmas.tolist()
        factors = contractions(self.grid, bandwidth, self.options)
        b = factors[0]
        if self.options.printed_start:  # half the variance at b = 1/2
            z = (1 - b) * anchors[0] + b * sigmas[0] * eps
        else:
            z = x + (1 - b**2) ** 0.5 * (anchors[0] - x) + b * sigmas[0] * eps
        for i, (sigma, sigma_next) in enumerate(itertools.pairwise(sigmas)):
            z = ddim_step(z, denoiser(z, sigma, cond), sigma, sigma_next)
            z = anchors[i + 1] + factors[i] * (z - anchors[i + 1])
        return z
