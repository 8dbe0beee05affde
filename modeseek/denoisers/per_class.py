"""One denoiser for each class, chosen row by row by the condition."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from modeseek.denoisers.base import Cond, Denoiser, spread
from modeseek.errors import UsageError
from modeseek.noise import Sigma


class PerClass:
    """A class-conditional denoiser made of unconditional ones.

    Args:
        classes: the denoiser of each class number.
        unconditional: answers where ``cond`` is None; without it such a call is refused.

    Raises:
        UsageError: if there is no class.
    """

    def __init__(self, classes: Mapping[int, Denoiser], unconditional: Denoiser | None = None) -> None:
        if not classes:
            raise UsageError("classes must hold at least one denoiser, got none")
        self.classes, self.unconditional = dict(classes), unconditional
        self._all = [*self.classes.values(), *([unconditional] if unconditional is not None else [])]

    @property
    def sigma_min(self) -> float:
        """The largest of the members'."""
        return max(d.sigma_min for d in self._all)

    @property
    def sigma_max(self) -> float:
        """The smallest of the members'."""
        return min(d.sigma_max for d in self._all)

    def cost(self, sigma: Sigma) -> int:
        """The dearest member's: each row reaches one of them."""
        return max(d.cost(sigma) for d in self._all)

    def __call__(self, z: Tensor, sigma: Sigma, cond: Cond = None) -> Tensor:
        """x0, shape of z; ``cond`` is a tensor of class numbers, (B,) or (1,), or None.

        Raises:
            UsageError: for a class that is not there, or None without an unconditional denoiser.
        """
        if cond is None:
            if self.unconditional is None:
                raise UsageError(f"cond must be a class of {sorted(self.classes)}: there is no unconditional denoiser")
            return self.unconditional(z, sigma)
        chosen = self._chosen(cond, z.shape[0])
        if len(chosen) == 1:
            return self.classes[next(iter(chosen))](z, sigma)
        out = torch.empty_like(z)
        for label, rows in chosen.items():
            level = sigma[rows] if isinstance(sigma, Tensor) and sigma.ndim and len(sigma) > 1 else sigma
            out[rows] = self.classes[label](z[rows], level)
        return out

    def _chosen(self, cond: Cond, batch: int) -> dict[int, Tensor]:
        """Rows of each class that occurs."""
        if not isinstance(cond, Tensor) or cond.ndim != 1 or cond.is_floating_point():
            raise UsageError("cond must be a tensor (B,) or (1,) of class numbers")
        cond = spread(cond, batch)
        present = sorted(set(cond.tolist()))
        unknown = [label for label in present if label not in self.classes]
        if unknown:
            raise UsageError(f"cond must be of the classes {sorted(self.classes)}, got {unknown}")
        return {label: (cond == label).nonzero()[:, 0] for label in present}
