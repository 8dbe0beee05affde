"""The sum of the two scores, as the paper prints it."""

from __future__ import annotations

import itertools

from torch import Tensor

from modeseek.denoisers.base import Cond, Denoiser
from modeseek.errors import UnstableError
from modeseek.samplers.product.base import GridSampler, Kernelled


class WithKernelScore(Kernelled):
    """``D + (sigma^2 / h^2) (x - z)``. Equation MSD-12."""

    def inside(self, z: Tensor, sigma: float, cond: Cond) -> Tensor:
        """x0 plus the kernel's pull."""
        return self.denoiser(z, sigma, cond) + (sigma / self.bandwidth) ** 2 * (self.x - z)


class Summed(GridSampler):
    """The kernel's score added to the model's. Equation MSD-12.

    The sum is not the score of the noised product: on a Gaussian it ends in one point, whatever the start, at least
    0.68 of the true shift long. It is stiff: Euler needs ``(sigma - sigma') sigma / h^2 < 2`` at every step.
    """

    def kernelled(self, denoiser: Denoiser, x: Tensor, bandwidth: float) -> Denoiser:
        """The denoiser plus the kernel's pull."""
        self.check(bandwidth)
        return WithKernelScore(denoiser, x, bandwidth, self.options)

    def check(self, bandwidth: float) -> None:
        """Refuse a bandwidth for which some step is too long, unless ``allow_unstable``.

        Raises:
            UnstableError: saying which condition is broken.
        """
        sigmas = self.grid.sigmas.tolist()
        worst = max(((a - b) * a if self.acts(a) else 0.0) for a, b in itertools.pairwise(sigmas)) / bandwidth**2
        if worst >= 2 and not self.options.allow_unstable:
            raise UnstableError(
                f"the summed sampler diverges: (sigma - sigma') sigma / bandwidth^2 must stay below 2, got {worst:.3g} "
                f"at bandwidth {bandwidth:.4g}; use exponential or exact, more steps, or a kernel interval"
            )
