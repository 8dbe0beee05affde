"""The kernel as a Gaussian step on the denoised prediction."""

from __future__ import annotations

from torch import Tensor

from modeseek.denoisers.base import Cond, Denoiser
from modeseek.samplers.product.base import GridSampler, Kernelled, variance_of_two


class Pulled(Kernelled):
    """``D + r^2 / (r^2 + h^2) (x - D)`` with ``r^2 = sigma^2 v / (sigma^2 + v)``. Equation PROX-1.

    r^2 is the posterior variance of Gaussian data of variance v; the network sees z, which is in distribution.
    """

    def inside(self, z: Tensor, sigma: float, cond: Cond) -> Tensor:
        """x0 pulled towards x."""
        x0 = self.denoiser(z, sigma, cond)
        r2 = variance_of_two(sigma, self.options.data_variance**0.5)
        return x0 + r2 / (r2 + self.bandwidth**2) * (self.x - x0)


class Proximal(GridSampler):
    """Exact for Gaussian data N(mu, v I), an approximation else. Equation PROX-1. One evaluation a step."""

    def kernelled(self, denoiser: Denoiser, x: Tensor, bandwidth: float) -> Denoiser:
        """The pulled denoiser."""
        return Pulled(denoiser, x, bandwidth, self.options)
