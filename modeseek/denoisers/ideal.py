"""The ideal denoiser: the exact posterior mean when the data are finitely many points."""

from __future__ import annotations

from torch import Tensor

from modeseek.denoisers.base import Cond
from modeseek.densities.attention import attend
from modeseek.errors import UsageError
from modeseek.noise import Sigma


class IdealDenoiser:
    """``D*(z; sigma) = sum_i r_i y_i``, ``r = softmax_i(log w_i - |z - y_i|^2 / (2 sigma^2))``. Equation MSD-16.

    What a network of unlimited capacity learns from the data set: below their spacing it recalls the points.

    Args:
        points: the data, (N, *event); kept as they are.
        log_weights: (N,), up to a constant; equal if not given.
        sigma_max: where samplers start; the answer stays exact above.

    Raises:
        UsageError: if a point or a log weight is not finite, or their numbers differ.
    """

    def __init__(self, points: Tensor, *, log_weights: Tensor | None = None, sigma_max: float = float("inf")) -> None:
        self.points, self.log_weights = points, log_weights
        self.sigma_min, self.sigma_max = 0.0, sigma_max
        attend(points[:1].flatten(1), 1.0, points.flatten(1), log_weights)  # refuses bad data now, not in a run

    def cost(self, sigma: Sigma) -> int:
        """One evaluation."""
        return 1

    def __call__(self, z: Tensor, sigma: Sigma, cond: Cond = None) -> Tensor:
        """Posterior mean of z (B, *event), same shape and type.

        Raises:
            UsageError: for a condition, or a level that is not positive.
        """
        if cond is not None:
            raise UsageError("cond must be None for an ideal denoiser; one of each class makes a PerClass")
        return self.both(z, sigma)[0]

    def log_prob(self, z: Tensor, sigma: Sigma) -> Tensor:
        """Log density of the noised data at z (B, *event); (B,), in nats."""
        return self.both(z, sigma)[1]

    def both(self, z: Tensor, sigma: Sigma) -> tuple[Tensor, Tensor]:
        """Posterior mean and log density from one pass."""
        mean, log_p = attend(z.flatten(1), sigma, self.points.flatten(1), self.log_weights)
        return mean.reshape(z.shape), log_p
