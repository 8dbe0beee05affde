"""Score distillation sampling (Poole et al. 2022)."""

from __future__ import annotations

import torch
from torch import Tensor

from modeseek.denoisers.base import Cond, Denoiser
from modeseek.errors import UsageError
from modeseek.estimators.base import Estimate, checked
from modeseek.methods import Weighting
from modeseek.noise import NoiseTable, column, eps_from_x0
from modeseek.randomness import Rng, normal, uniform


class SDS:
    """``grad = w (eps_hat(x + sigma eps; sigma) - eps)``. Equation SDS-1.

    Args:
        denoiser: the model, usually guided.
        table: the levels that t is drawn from.
        time_range: as fractions of the table; t is uniform over the timesteps in it, ends included, one per sample.
        weighting: "sigma2" is ``w = s^2 = sigma^2 / (1 + sigma^2)``; "uniform" is 1.

    Raises:
        UsageError: if the range or the weighting is not one of these.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        table: NoiseTable,
        *,
        time_range: tuple[float, float] = (0.02, 0.98),  # DreamFusion
        weighting: Weighting = "sigma2",
    ) -> None:
        if weighting not in ("sigma2", "uniform"):
            raise UsageError(f"weighting must be sigma2 or uniform, got {weighting!r}")
        self.denoiser, self.table, self.weighting = denoiser, table, weighting
        self.first, self.last = table.span(*time_range)

    def nfe(self, step: int) -> int:
        """Evaluations of a call: the dearest level's, where guidance is limited to an interval."""
        return max(self.denoiser.cost(s) for s in self.table.sigmas[self.first : self.last + 1].tolist())

    @torch.no_grad()
    def __call__(self, x: Tensor, cond: Cond = None, *, rng: Rng, step: int = 0) -> Estimate:
        """Estimate at x (B, *event), one draw of noise and level for each sample.

        Info: ``shift``; ``sigma`` (mean level of the batch); ``converged``, always false: SDS has no such signal.

        Raises:
            NonFiniteError: if the gradient of a sample is not finite.
        """
        sigma = self.levels(rng, x.shape[0])
        grad = self.gradient(x.detach(), cond, normal(rng, x), sigma.to(x.device, x.dtype))
        info = {"sigma": float(sigma.mean()), "converged": False}
        return checked(x, x.detach() - grad, self.denoiser.cost(sigma), info)

    def levels(self, rng: Rng, batch: int) -> Tensor:
        """One level for each sample, (batch,), float64 on the CPU."""
        return self.table.pick(uniform(rng, batch), self.first, self.last)

    def gradient(self, x: Tensor, cond: Cond, eps: Tensor, sigma: Tensor) -> Tensor:
        """The deterministic core: the gradient (B, *event) for given noise (B, *event) and levels (B,)."""
        z = x + column(sigma, x) * eps
        x0 = self.denoiser(z, sigma, cond)
        eps_hat = eps_from_x0(z, sigma, x0)
        return column(self.weight(sigma), x) * (eps_hat - eps)

    def weight(self, sigma: Tensor) -> Tensor:
        """w at levels (B,)."""
        return sigma**2 / (1 + sigma**2) if self.weighting == "sigma2" else torch.ones_like(sigma)
