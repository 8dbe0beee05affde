"""Score distillation sampling (Poole et al. 2022)."""

from __future__ import annotations

import torch
from torch import Tensor

from modeseek.denoisers.base import Cond, Denoiser
from modeseek.estimators.base import Estimate, checked
from modeseek.estimators.levels import Levels, check_weighting, weight
from modeseek.methods import Weighting
from modeseek.noise import NoiseTable, column, eps_from_x0
from modeseek.randomness import Rng, normal
from modeseek.schedules import Time, chosen


class SDS:
    """``grad = w (eps_hat(x + sigma eps; sigma) - eps)``. Equation SDS-1.

    Args:
        denoiser: the model, usually guided.
        table: the levels that t is drawn from.
        time: which timesteps at which step, as fractions of the table: ``Uniform(0.02, 0.98)`` if not given, drawn for
            each sample; ``Anneal`` for a t that falls with the step (HiFA); a number for one level alone.
        time_range: short for ``time=Uniform(*time_range)``.
        weighting: w, see ``levels.weight``: sigma2 is ``s^2 = sigma^2 / (1 + sigma^2)``.

    Raises:
        UsageError: if the time or the weighting is not one of these.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        table: NoiseTable,
        *,
        time: Time | float | None = None,
        time_range: tuple[float, float] | None = None,
        weighting: Weighting = "sigma2",
    ) -> None:
        check_weighting(weighting)
        self.denoiser, self.table, self.weighting = denoiser, table, weighting
        self.time = chosen(time, time_range)
        self.levels = Levels(table, self.time)

    def nfe(self, step: int) -> int:
        """Evaluations of a call: the dearest level's, where guidance is limited to an interval."""
        return max(self.denoiser.cost(s) for s in self.levels.at(step))

    @torch.no_grad()
    def __call__(self, x: Tensor, cond: Cond = None, *, rng: Rng, step: int = 0) -> Estimate:
        """Estimate at x (B, *event), one draw of noise and level for each sample.

        Info: ``shift``; ``sigma`` (mean level of the batch); ``converged`` (an annealed time has reached its end; false
        with drawn times: SDS has no such signal of its own).

        Raises:
            NonFiniteError: if the gradient of a sample is not finite.
        """
        sigma = self.levels(rng, x.shape[0], step)
        grad = self.gradient(x.detach(), cond, normal(rng, x), sigma.to(x.device, x.dtype))
        info = {"sigma": float(sigma.mean()), "converged": self.time.converged(step)}
        return checked(x, x.detach() - grad, self.denoiser.cost(sigma), info)

    def gradient(self, x: Tensor, cond: Cond, eps: Tensor, sigma: Tensor) -> Tensor:
        """The deterministic core: the gradient (B, *event) for given noise (B, *event) and levels (B,)."""
        z = x + column(sigma, x) * eps
        x0 = self.denoiser(z, sigma, cond)
        eps_hat = eps_from_x0(z, sigma, x0)
        return column(self.weight(sigma), x) * (eps_hat - eps)

    def weight(self, sigma: Tensor) -> Tensor:
        """w at levels (B,)."""
        return weight(self.weighting, sigma)
