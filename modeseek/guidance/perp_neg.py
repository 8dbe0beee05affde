"""Perp-neg: negative prompts that cannot undo the positive one (Armandpour et al. 2023, arXiv 2304.04968)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from modeseek.denoisers.base import Cond, Denoiser, spread
from modeseek.errors import UsageError
from modeseek.guidance.packed import unpack
from modeseek.noise import Sigma, column


class PerpNeg:
    """``x0 = u + guidance_scale [(c - u) + sum_i w_i perp(n_i - u; c - u)]``. Equation PERPNEG-1.

    u, c and n_i are x0 without condition, with the positive and with each negative one; ``perp(a; b)`` is what is left
    of a without its part along b, per sample, over all elements. Without negatives it is classifier-free guidance. The
    conditions come packed (``modeseek.guidance.packed``): each sample has its own negatives and weights, and in the
    batch that the model sees each stands at the latent and the level of its sample.

    Args:
        denoiser: the model.
        guidance_scale: as ``CFG``'s; threestudio's number with perp-neg is this one, without it one less.
        uncond: condition of u: the empty prompt; None is unconditional.
        negatives: how many each sample has, which the cost of a call depends on; view-dependent prompts have 2.

    Raises:
        UsageError: if negatives is below 1.
    """

    def __init__(self, denoiser: Denoiser, guidance_scale: float, uncond: Cond = None, *, negatives: int = 2) -> None:
        if negatives < 1:
            raise UsageError(f"negatives must be at least 1, got {negatives}; without any, use CFG")
        self.denoiser, self.guidance_scale, self.uncond, self.negatives = denoiser, guidance_scale, uncond, negatives

    @property
    def sigma_min(self) -> float:
        """As the denoiser's."""
        return self.denoiser.sigma_min

    @property
    def sigma_max(self) -> float:
        """As the denoiser's."""
        return self.denoiser.sigma_max

    def cost(self, sigma: Sigma) -> int:
        """The denoiser's for u, c and every negative, in one batch where all are conditions."""
        return self.denoiser.cost(sigma) * (2 + self.negatives)

    def __call__(self, z: Tensor, sigma: Sigma, cond: Cond = None) -> Tensor:
        """Guided x0, shape of z.

        Raises:
            UsageError: if the condition brings no negatives, or another number of them.
        """
        parts = unpack(cond)
        if parts.weights is None or parts.weights.shape[1] != self.negatives:
            found = "none" if parts.weights is None else parts.weights.shape[1]
            raise UsageError(f"the condition must bring {self.negatives} negatives, packed beside it, got {found}")
        negatives = [_nth(parts.negatives, i) for i in range(self.negatives)]
        without, positive, *pushing = self._ask(z, sigma, [self.uncond, parts.cond, *negatives])
        along = positive - without
        weights = spread(parts.weights, z.shape[0]).to(z.device, z.dtype)
        pushed = [column(w, z) * perpendicular(n - without, along) for w, n in zip(weights.unbind(1), pushing)]
        return without + self.guidance_scale * (along + torch.stack(pushed).sum(0))

    def _ask(self, z: Tensor, sigma: Sigma, conds: Sequence[Cond]) -> Sequence[Tensor]:
        """x0 under each condition, in one batch unless one is None."""
        if any(c is None for c in conds):
            return [self.denoiser(z, sigma, c) for c in conds]
        n = len(conds)
        levels = sigma.repeat(n) if isinstance(sigma, Tensor) and sigma.ndim else sigma
        together = self.denoiser(torch.cat([z] * n), levels, _rows(conds, z.shape[0]))
        return together.chunk(n)


def perpendicular(a: Tensor, b: Tensor) -> Tensor:
    """What is left of a without its part along b, per sample over all elements; a where b is 0. Shapes (B, *event)."""
    inner, norm = ((v * b).flatten(1).sum(1) for v in (a, b))
    return a - column(inner / norm.where(norm > 0, 1), a) * b


def _nth(negatives: Cond, i: int) -> Cond:
    """One condition of each sample's negatives, (B or 1, N, ...)."""
    if isinstance(negatives, Tensor):
        return negatives[:, i]
    return None if negatives is None else {k: v[:, i] for k, v in negatives.items()}


def _rows(conds: Sequence[Cond], batch: int) -> Cond:
    """Rows of several conditions one after the other, each spread to ``batch`` rows."""
    tensors = [c for c in conds if isinstance(c, Tensor)]
    mappings = [c for c in conds if isinstance(c, Mapping)]
    if len(tensors) == len(conds):
        return torch.cat([spread(c, batch) for c in tensors])
    if len(mappings) == len(conds) and all(c.keys() == mappings[0].keys() for c in mappings):
        return {k: torch.cat([spread(c[k], batch) for c in mappings]) for k in mappings[0]}
    kinds = sorted({type(c).__name__ for c in conds})
    raise UsageError(f"the positive, negative and empty conditions must be of one kind, got {', '.join(kinds)}")
