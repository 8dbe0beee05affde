"""Split Gibbs sampling (Vono et al. 2019; PnP-DM, Wu et al. 2024)."""

from __future__ import annotations

from torch import Tensor

from modeseek.denoisers.base import Cond, Denoiser
from modeseek.errors import UsageError
from modeseek.methods import ProductOptions
from modeseek.noise import karras_sigmas
from modeseek.randomness import Rng, normal
from modeseek.samplers.ddim import ddim
from modeseek.samplers.product.base import Grid, GridSampler, start_level, variance_of_two

RHO_FIRST, RHO_LAST = (
    0.7,
    0.15,
)  # of the bandwidth: measured in docs/solvers.md; the kernel's variance is 2 % too wide at the end


class Gibbs(GridSampler):
    """Alternate the kernel and the model, coupled by a variable u at distance rho that falls. Equation GIBBS-1.

    ``u ~ N((rho^2 x + h^2 y) / (h^2 + rho^2), h^2 rho^2 / (h^2 + rho^2))``, then ``y ~ p(y | u)`` at level rho by an
    ancestral sampler. The network only ever sees real white noise. At fixed rho it samples the kernel of variance
    h^2 + rho^2; exact as rho goes to 0 with many sweeps and inner steps.

    The T steps of the grid are shared between the sweeps, at least two for each.
    """

    def __init__(self, grid: Grid, options: ProductOptions | None = None) -> None:
        super().__init__(grid, options)
        if self.options.sweeps < 1:
            raise UsageError(f"sweeps must be at least 1, got {self.options.sweeps}")

    @property
    def inner_steps(self) -> int:
        """Evaluations in one sweep."""
        return max(2, (len(self.grid.sigmas) - 1) // self.options.sweeps)

    def rhos(self, denoiser: Denoiser, bandwidth: float) -> list[float]:
        """Distances of the sweeps, falling geometrically; at most the grid's first level."""
        top = min(RHO_FIRST * bandwidth, float(self.grid.sigmas[0]))
        bottom = min(RHO_LAST * min(bandwidth, self.options.data_variance**0.5), top)
        n = self.options.sweeps
        return [top * (bottom / top) ** (k / max(1, n - 1)) for k in range(n)] if n > 1 else [bottom]

    def nfe(self, denoiser: Denoiser, bandwidth: float) -> int:
        """Sweeps times inner steps, and the start."""
        start = (self.options.start == "posterior_mean") * denoiser.cost(start_level(denoiser, bandwidth))
        inner = sum(denoiser.cost(s) for rho in self.rhos(denoiser, bandwidth) for s in self._levels(rho).tolist()[:-1])
        return start + inner

    def draw(self, denoiser: Denoiser, x: Tensor, bandwidth: float, cond: Cond, rng: Rng) -> Tensor:
        """The chain from ``x`` or ``D(x; h)``."""
        y = x
        if self.options.start == "posterior_mean":
            y = denoiser(x, start_level(denoiser, bandwidth), cond)
        for rho in self.rhos(denoiser, bandwidth):
            s2 = variance_of_two(rho, bandwidth)
            u = x + (s2 / rho**2) * (y - x) + s2**0.5 * normal(rng, x)
            y = ddim(denoiser, u, self._levels(rho), cond, eta=1.0, rng=rng)
        return y

    def _levels(self, rho: float) -> Tensor:
        return karras_sigmas(self.inner_steps, 0.1 * rho, rho)
