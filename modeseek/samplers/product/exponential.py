"""The kernel's part of the equation integrated exactly over each step: a contraction."""

from __future__ import annotations

import math

from torch import Tensor

from modeseek.denoisers.base import Cond, Denoiser
from modeseek.errors import UsageError
from modeseek.methods import ProductOptions
from modeseek.samplers.ddim import ddim_step
from modeseek.samplers.product.base import Grid, GridSampler


def contractions(grid: Grid, bandwidth: float, options: ProductOptions) -> list[float]:
    """``exp(-kappa)`` of each of the T steps; 1 where the kernel does not act. Equation MSD-14.

    Clock "sigma": ``kappa = (sigma^2 - sigma'^2) / (2 h^2)``, the solution of MSD-12's kernel term.
    Clock "timestep": ``kappa = (t - t') / lambda^2`` with ``lambda^2 = 2 h^2`` and t in 0 ... 1000.

    Raises:
        UsageError: for the timestep clock on a grid without timesteps.
    """
    time = grid.sigmas.double() ** 2
    if options.clock == "timestep":
        if grid.timesteps is None:
            raise UsageError('clock "timestep" needs a model with timesteps; use "sigma" here')
        time = grid.timesteps.double()
    kappas = ((time[:-1] - time[1:]) / (2 * bandwidth**2)).tolist()
    acting = [options.low <= s <= options.high for s in grid.sigmas[:-1].tolist()]
    return [math.exp(-kappa) if on else 1.0 for kappa, on in zip(kappas, acting)]


class Exponential(GridSampler):
    """A plain step to z', then ``z = x + (z' - x) exp(-kappa)``. Equations MSD-14, MSD-15, clean centre.

    Stable at any bandwidth; biased, since the pull is towards a clean x at noisy levels.
    """

    def solve(self, denoiser: Denoiser, x: Tensor, bandwidth: float, cond: Cond, eps: Tensor) -> Tensor:
        """The deterministic core: y for given starting noise."""
        z = self.begin(denoiser, x, bandwidth, cond, eps)
        sigmas = self.grid.sigmas.tolist()
        factors = contractions(self.grid, bandwidth, self.options)
        for sigma, sigma_next, factor in zip(sigmas[:-1], sigmas[1:], factors):
            z = ddim_step(z, denoiser(z, sigma, cond), sigma, sigma_next)
            z = x + factor * (z - x)
        return z
