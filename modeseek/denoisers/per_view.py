"""The ideal denoiser of a scene: finitely many objects, and for each camera the pictures that it takes of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from modeseek.denoisers.base import Cond, spread
from modeseek.errors import UsageError
from modeseek.noise import Sigma


class PerViewIdeal:
    """``D(z; sigma, c) = sum_i r_i y_i(c)``, ``r = softmax_i(-|z - y_i(c)|^2 / (2 sigma^2))``. Equation NERF-4.

    MSD-16 with data that depend on the row: ``cond`` is the pictures that the row's camera c takes of N objects, in the
    same order for every camera. A perfect text-to-image model of one caption, told where the camera stands, if N
    objects were all that the caption can mean; from one view it does not know what it said from another.

    Args:
        sigma_max: where samplers start; the answer stays exact above.
    """

    def __init__(self, *, sigma_max: float = float("inf")) -> None:
        self.sigma_min, self.sigma_max = 0.0, sigma_max

    def cost(self, sigma: Sigma) -> int:
        """One evaluation."""
        return 1

    def __call__(self, z: Tensor, sigma: Sigma, cond: Cond = None) -> Tensor:
        """Posterior mean of z (B, *event), same shape and type; ``cond`` (B, N, *event), or (1, N, *event) for all.

        Raises:
            UsageError: without a condition, for one of another shape or that is not finite, or a level not positive.
        """
        return self.both(z, sigma, cond)[0]

    def log_prob(self, z: Tensor, sigma: Sigma, cond: Cond = None) -> Tensor:
        """Log density of the noised pictures at z (B, *event); (B,), in nats."""
        return self.both(z, sigma, cond)[1]

    @torch.no_grad()
    def both(self, z: Tensor, sigma: Sigma, cond: Cond = None) -> tuple[Tensor, Tensor]:
        """Posterior mean and log density from one pass; without a graph, as MSD-16's."""
        data = _data(cond, z)
        wide = torch.float32 if z.device.type == "mps" else torch.float64  # differences of squares of a thousand pixels
        level = torch.as_tensor(sigma, dtype=wide, device=z.device).expand(len(z))
        if not bool((level > 0).all()):
            raise UsageError(f"sigma must be positive, got {float(level.min())}")
        points, at = data.flatten(2).to(z.device, wide), z.flatten(1).to(wide)
        squares = (at[:, None] - points).square().sum(-1)
        logits = -squares / (2 * level[:, None] ** 2)
        mean = torch.einsum("bn,bnd->bd", logits.softmax(1), points).reshape(z.shape)
        norm = math.log(points.shape[1]) + at.shape[1] * (level.log() + 0.5 * math.log(2 * math.pi))
        return mean.to(z.dtype), (logits.logsumexp(1) - norm).to(z.dtype)


def _data(cond: Cond, z: Tensor) -> Tensor:
    if not isinstance(cond, Tensor) or cond.ndim != z.ndim + 1 or cond.shape[2:] != z.shape[1:] or not cond.shape[1]:
        got = f"{(*cond.shape,)}" if isinstance(cond, Tensor) else type(cond).__name__
        raise UsageError(f"cond must be the pictures of each row's view, (B, N, *{(*z.shape[1:],)}), got {got}")
    if not bool(cond.isfinite().all()):
        raise UsageError("the pictures of a condition must be finite, got NaN or infinity")
    return spread(cond, len(z))
