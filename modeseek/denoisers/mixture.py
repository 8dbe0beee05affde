"""The exact denoiser of a Gaussian mixture."""

from __future__ import annotations

import torch
from torch import Tensor

from modeseek.denoisers.base import Cond, spread
from modeseek.densities import GaussianMixture
from modeseek.errors import UsageError
from modeseek.noise import Sigma


class MixtureDenoiser:
    """``E[x | z]`` of a Gaussian mixture, exact at every level. Equation MIX-2.

    Args:
        mixture: the density of clean data, over events of shape (D,).
        classes: (K,) class of each component; then ``cond``, a tensor (B,) of class numbers, selects components.
        sigma_max: where samplers start; the answer stays exact above.
    """

    def __init__(
        self, mixture: GaussianMixture, classes: Tensor | None = None, *, sigma_max: float = float("inf")
    ) -> None:
        self.mixture, self.classes = mixture, classes
        self.sigma_min, self.sigma_max = 0.0, sigma_max

    def cost(self, sigma: Sigma) -> int:
        """One evaluation."""
        return 1

    def __call__(self, z: Tensor, sigma: Sigma, cond: Cond = None) -> Tensor:
        """Posterior mean (B, D) of z (B, D); ``cond`` None is the whole mixture.

        Raises:
            UsageError: for a condition where the mixture has no classes.
        """
        if cond is None:
            return self.mixture.posterior_mean(z, sigma)
        if self.classes is None or not isinstance(cond, Tensor):
            raise UsageError("cond must be None for a mixture without classes, else a tensor (B,) of class numbers")
        allowed = spread(cond, z.shape[0])[:, None] == self.classes.to(torch.long)
        return self.mixture.posterior_mean(z, sigma, allowed)
