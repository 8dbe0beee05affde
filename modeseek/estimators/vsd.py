"""Variational score distillation (Wang et al. 2023)."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from modeseek.denoisers.base import Cond, Denoiser
from modeseek.denoisers.particles import ParticleScore
from modeseek.errors import UsageError
from modeseek.estimators.base import Estimate, Info, checked
from modeseek.estimators.sds import SDS
from modeseek.methods import Weighting
from modeseek.noise import NoiseTable, Sigma, column, eps_from_x0
from modeseek.randomness import Rng, normal
from modeseek.schedules import Time


class Auxiliary(Protocol):
    """What stands for the density of the current renderings; ``Particles`` knows it, ``trained.Trained`` learns it."""

    def cost(self, sigma: Sigma) -> int:
        """Evaluations per batch element of its denoiser at ``sigma``; training is not counted."""

    def denoiser(self, x: Tensor) -> Denoiser:
        """The denoiser of that density, given the renderings x (B, *event), which it may ignore."""

    def fit(self, x: Tensor, cond: Cond, rng: Rng, step: int) -> Info:
        """Learn from x (B, *event); returns numbers for the log."""

    def state_dict(self) -> dict[str, Tensor]:
        """All that training has changed, as flat tensors."""

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Put it back."""


class VSD:
    """``grad = w (eps_hat(z) - eps_phi(z))``, ``z = x + sigma eps``, eps_phi of the renderings. Equation VSD-1.

    Its fixed points are sets of renderings that are distributed as the model's density is, which SDS's are not; with
    one rendering eps_phi is the drawn noise, and VSD is SDS.

    Args:
        denoiser: the model, usually guided (Wang et al.: 7.5).
        table: the levels that t is drawn from.
        auxiliary: of the renderings' density, unguided.
        time: as SDS's; ``Uniform(0.02, 0.98, drop=(5000, 0.5))`` is ProlificDreamer's.
        time_range: short for ``time=Uniform(*time_range)``.
        weighting: as SDS's; x0 gives ``x0_phi - x0``.

    Raises:
        UsageError: if the time or the weighting is not one of these.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        table: NoiseTable,
        auxiliary: Auxiliary,
        *,
        time: Time | float | None = None,
        time_range: tuple[float, float] | None = None,
        weighting: Weighting = "sigma2",
    ) -> None:
        self.sds = SDS(denoiser, table, time=time, time_range=time_range, weighting=weighting)  # same levels and weight
        self.denoiser, self.table, self.auxiliary = denoiser, table, auxiliary

    def nfe(self, step: int) -> int:
        """Evaluations of a call, the auxiliary's among them, at the dearest level."""
        return max(self.denoiser.cost(s) + self.auxiliary.cost(s) for s in self.sds.levels.at(step))

    @torch.no_grad()
    def __call__(self, x: Tensor, cond: Cond = None, *, rng: Rng, step: int = 0) -> Estimate:
        """Estimate at x (B, *event), one draw of noise and level for each sample.

        Info: ``shift``; ``sigma`` (mean level of the batch); ``converged``, as SDS's.

        Raises:
            NonFiniteError: if the gradient of a sample is not finite.
        """
        at = x.detach()
        sigma = self.sds.levels(rng, x.shape[0], step)
        grad = self.gradient(at, cond, normal(rng, x), sigma.to(x.device, x.dtype))
        info = {"sigma": float(sigma.mean()), "converged": self.sds.time.converged(step)}
        return checked(x, at - grad, self.denoiser.cost(sigma) + self.auxiliary.cost(sigma), info)

    def gradient(self, x: Tensor, cond: Cond, eps: Tensor, sigma: Tensor) -> Tensor:
        """The deterministic core: the gradient (B, *event) for given noise (B, *event) and levels (B,)."""
        z = x + column(sigma, x) * eps
        eps_hat = eps_from_x0(z, sigma, self.denoiser(z, sigma, cond))
        eps_phi = eps_from_x0(z, sigma, self.auxiliary.denoiser(x)(z, sigma, cond))
        return column(self.sds.weight(sigma), x) * (eps_hat - eps_phi)

    def fit(self, x: Tensor, cond: Cond = None, *, rng: Rng, step: int = 0) -> Info:
        """Let the auxiliary learn from the renderings x (B, *event)."""
        return self.auxiliary.fit(x.detach(), cond, rng, step)

    def state_dict(self) -> dict[str, Tensor]:
        """The auxiliary's."""
        return self.auxiliary.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Put back the auxiliary's."""
        self.auxiliary.load_state_dict(state)


class Untrained:
    """What auxiliaries in closed form share: they learn and keep nothing, and an evaluation counts as a network's."""

    def cost(self, sigma: Sigma) -> int:
        """One evaluation."""
        return 1

    def fit(self, x: Tensor, cond: Cond, rng: Rng, step: int) -> Info:
        """Nothing to learn."""
        return {}

    def state_dict(self) -> dict[str, Tensor]:
        """Nothing to keep."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Nothing to put back.

        Raises:
            UsageError: if there is something.
        """
        if state:
            raise UsageError(f"the state of particles must be empty, got {', '.join(sorted(state))}")


class Particles(Untrained):
    """The renderings are the density: their score in closed form, with nothing to train. For the plane.

    All rows of a batch are particles of one density, whatever their conditions. An evaluation counts as one, as that of
    the network which it stands for.

    Args:
        smoothing: standard deviation of a Gaussian kernel on each, in units of x.
        particles: (N, *event), whose density it is instead of the batch's, so that rows do not depend on each other:
            to draw the field of VSD as it stands.

    Raises:
        UsageError: if smoothing is negative.
    """

    def __init__(self, smoothing: float = 0.0, particles: Tensor | None = None) -> None:
        if not smoothing >= 0:
            raise UsageError(f"smoothing must not be negative, got {smoothing}")
        self.smoothing, self.particles = smoothing, particles

    def denoiser(self, x: Tensor) -> Denoiser:
        """Of the kernel density of the rows of x (B, *event), or of the particles given."""
        return _Unconditional(ParticleScore(x if self.particles is None else self.particles, self.smoothing))


class _Unconditional:
    """A denoiser that is asked without the condition."""

    def __init__(self, denoiser: Denoiser) -> None:
        self.denoiser, self.sigma_min, self.sigma_max = denoiser, denoiser.sigma_min, denoiser.sigma_max

    def cost(self, sigma: Sigma) -> int:
        return self.denoiser.cost(sigma)

    def __call__(self, z: Tensor, sigma: Sigma, cond: Cond = None) -> Tensor:
        return self.denoiser(z, sigma)
