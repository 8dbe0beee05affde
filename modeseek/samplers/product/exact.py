"""The product density sampled exactly: two Gaussian looks at one y are one look."""

from __future__ import annotations

from torch import Tensor

from modeseek.denoisers.base import Cond, Denoiser
from modeseek.samplers.product.base import GridSampler, Kernelled, variance_of_two


class Composed(Kernelled):
    """``E[y | x, z] = D(m; s)``. Equation MSD-9.

    ``m = (sigma^2 x + h^2 z) / (sigma^2 + h^2)`` and ``s = sigma h / sqrt(sigma^2 + h^2)``: precisions add.
    """

    def inside(self, z: Tensor, sigma: float, cond: Cond) -> Tensor:
        """x0 under both looks."""
        s2 = variance_of_two(sigma, self.bandwidth)
        m = self.x + (s2 / sigma**2) * (z - self.x)
        return self.denoiser(m, s2**0.5, cond)


class Exact(GridSampler):
    """The probability-flow ODE of the noised product density. Equation MSD-9.

    Its mean is right from ``start = D(x; h)`` at any step count; its variance in the limit of many steps.
    """

    def kernelled(self, denoiser: Denoiser, x: Tensor, bandwidth: float) -> Denoiser:
        """The composed denoiser."""
        return Composed(denoiser, x, bandwidth, self.options)

    def level(self, sigma: float, bandwidth: float) -> float:
        """That of both looks together, where the kernel acts."""
        return variance_of_two(sigma, bandwidth) ** 0.5 if self.acts(sigma) else sigma
