"""Mean-shift distillation (Thamizharasan et al. 2025)."""

from __future__ import annotations

import torch
from torch import Tensor

from modeseek.denoisers.base import Cond, Counting, Denoiser, repeat_cond
from modeseek.errors import UsageError
from modeseek.estimators.base import Estimate, checked
from modeseek.randomness import Rng, repeat
from modeseek.samplers.product.base import ProductSampler
from modeseek.schedules import Bandwidth


class MSD:
    """``grad = x - y``, y the mean of samples of ``p(y) N(y; x, bandwidth^2) / Z``. Equation MSD-11.

    Descends to modes of p smoothed by the kernel; it is not SDS with another noise.

    Args:
        denoiser: the model, usually guided.
        sampler: one of ``modeseek.samplers.product``.
        bandwidth: kernel standard deviation in units of x: a number, or a schedule over steps.
        n_samples: y drawn for each x; they travel as one batch.

    Raises:
        UsageError: if the bandwidth is not positive or n_samples < 1.
    """

    def __init__(
        self, denoiser: Denoiser, sampler: ProductSampler, bandwidth: float | Bandwidth, *, n_samples: int = 1
    ) -> None:
        if not isinstance(bandwidth, Bandwidth) and not bandwidth > 0:
            raise UsageError(f"bandwidth must be positive, got {bandwidth}")
        if n_samples < 1:
            raise UsageError(f"n_samples must be at least 1, got {n_samples}")
        self.denoiser, self.sampler, self.bandwidth, self.n_samples = denoiser, sampler, bandwidth, n_samples

    def at(self, step: int) -> float:
        """Bandwidth at a step."""
        return self.bandwidth(step) if isinstance(self.bandwidth, Bandwidth) else self.bandwidth

    def nfe(self, step: int) -> int:
        """Evaluations of a call at ``step``."""
        return self.n_samples * self.sampler.nfe(self.denoiser, self.at(step))

    @torch.no_grad()
    def __call__(self, x: Tensor, cond: Cond = None, *, rng: Rng, step: int = 0) -> Estimate:
        """Estimate at x (B, *event).

        Info: ``bandwidth``; ``shift`` (root mean square of y - x); ``relative_shift`` (that over the bandwidth);
        ``converged`` (the schedule has reached its end); ``clamped`` (a level was below the model's smallest).

        Raises:
            NonFiniteError: if a sample of y is not finite.
        """
        bandwidth = self.at(step)
        counted = Counting(self.denoiser)
        n, at = self.n_samples, x.detach()
        if n == 1:
            y = self.sampler(counted, at, bandwidth, cond, rng=rng)
        else:
            rows = at.repeat_interleave(n, 0)
            y = self.sampler(counted, rows, bandwidth, repeat_cond(cond, n), rng=repeat(rng, n))
            y = y.reshape(x.shape[0], n, *x.shape[1:]).mean(1)
        converged = isinstance(self.bandwidth, Bandwidth) and self.bandwidth.converged(step)
        info = {"bandwidth": bandwidth, "converged": converged, "clamped": counted.clamped}
        estimate = checked(x, y, self.nfe(step), info)
        estimate.info["relative_shift"] = float(estimate.info["shift"]) / bandwidth
        return estimate
