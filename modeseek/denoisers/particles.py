"""The score of the particles themselves: VSD's auxiliary network in closed form."""

from __future__ import annotations

import torch
from torch import Tensor

from modeseek.denoisers.base import Cond
from modeseek.densities.attention import attend
from modeseek.errors import UsageError
from modeseek.noise import Sigma, column


class ParticleScore:
    """``D = z + sigma^2 / (sigma^2 + b^2) (m - z)``, m the mean of MSD-16 at ``sqrt(sigma^2 + b^2)``. Equation KDE-1.

    Exact for the kernel density ``1/N sum_i N(x; x_i, b^2 I)``. One particle and b = 0 give back the noise that was
    drawn: VSD is then SDS.

    Args:
        particles: (N, *event).
        smoothing: b, standard deviation in units of x.

    Raises:
        UsageError: if a particle is not finite or smoothing is negative.
    """

    def __init__(self, particles: Tensor, smoothing: float = 0.0) -> None:
        if not smoothing >= 0:
            raise UsageError(f"smoothing must not be negative, got {smoothing}")
        self.particles, self.smoothing = particles.detach(), smoothing
        self.sigma_min, self.sigma_max = 0.0, float("inf")
        attend(self.particles[:1].flatten(1), 1.0, self.particles.flatten(1))  # refuses bad particles now

    def cost(self, sigma: Sigma) -> int:
        """One evaluation."""
        return 1

    def __call__(self, z: Tensor, sigma: Sigma, cond: Cond = None) -> Tensor:
        """Posterior mean of z (B, *event), same shape and type.

        Raises:
            UsageError: for a condition, or a level that is not positive.
        """
        if cond is not None:
            raise UsageError("cond must be None for a particle score")
        variance = torch.as_tensor(sigma, dtype=torch.float64) ** 2
        total = variance + self.smoothing**2
        mean, _ = attend(z.flatten(1), total.sqrt(), self.particles.flatten(1))
        mean = mean.reshape(z.shape)
        if self.smoothing == 0:
            return mean
        return mean + column(self.smoothing**2 / total, z) * (z - mean)
