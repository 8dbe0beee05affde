"""Score distillation via inversion (Lukoianov et al. 2024)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from modeseek.denoisers.base import Cond, Counting, Denoiser
from modeseek.errors import UsageError
from modeseek.estimators.base import Estimate, checked
from modeseek.noise import NoiseTable
from modeseek.randomness import Rng
from modeseek.samplers.inversion import invert
from modeseek.schedules import Anneal

OFFSET = 1  # the original's grid is 1, 101, ..., 901: "leading" spacing with an offset of one timestep


class SDI:
    """``grad = x - D(z*; sigma)``, z* the DDIM inversion of x to sigma(t), t falling with the step. Equation SDI-1.

    x is taken as a z at ``sigma_start`` and inverted over the timesteps ``1 + k T / n`` below t (T timesteps in the
    table, n ``inversion_steps``) up to t itself, as the original does: about ``n t / T + 1`` evaluations. Where
    sigma(t) is not above ``sigma_start`` nothing is inverted and ``z* = x``. The original inverts to a random level up
    to T / n timesteps beyond t; here the inversion ends at t, where the denoiser is asked.

    Args:
        denoiser: the model, usually guided.
        table: the model's levels.
        inverse: the model for the inversion; the original's is guided by -6.5 in this project's convention.
        level: t as a fraction of the table: a number, or ``Anneal(0.98, 0.25, steps)`` over the run's steps.
        inversion_steps: n, between 1 and T.
        eta: share of fresh noise in the inversion, see ``samplers.inversion.invert``.
        sigma_start: level at which x is taken to be; the table's smallest if not given. An inversion multiplies the
            distance to the data by ``sigma / sigma_start``: with a sharp denoiser choose the order of that distance.
        max_eps: cap on the inversion's predicted noise, root mean square; 1 keeps z* on the shell.

    Raises:
        UsageError: if one of these is out of its range.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        table: NoiseTable,
        *,
        inverse: Denoiser,
        level: float | Anneal,
        inversion_steps: int = 10,
        eta: float = 0.3,
        sigma_start: float | None = None,
        max_eps: float = math.inf,
    ) -> None:
        start = table.sigma_min if sigma_start is None else sigma_start
        if not 1 <= inversion_steps <= len(table):
            raise UsageError(f"inversion_steps must be between 1 and {len(table)}, got {inversion_steps}")
        if not 0 <= eta <= 1:
            raise UsageError(f"eta must be in [0, 1], got {eta}")
        if not 0 <= start < math.inf:
            raise UsageError(f"sigma_start must be finite and at least 0, got {start}")
        if not max_eps > 0:
            raise UsageError(f"max_eps must be positive, got {max_eps}")
        if not isinstance(level, Anneal):
            table.span(0.0, level)  # refuses a fraction outside [0, 1]
        self.denoiser, self.table, self.inverse, self.level = denoiser, table, inverse, level
        self.inversion_steps, self.eta, self.sigma_start, self.max_eps = inversion_steps, eta, start, max_eps

    def timestep(self, step: int) -> int:
        """Timestep t at a step."""
        time = self.level(step) if isinstance(self.level, Anneal) else self.level
        return self.table.span(0.0, time)[1]

    def grid(self, step: int) -> Tensor:
        """Levels of a step's inversion, falling from sigma(t) to ``sigma_start``; one where nothing is inverted."""
        t = self.timestep(step)
        spacing = len(self.table) / self.inversion_steps
        between = [OFFSET + math.floor(k * spacing) for k in range(self.inversion_steps)]
        levels = [float(self.table.sigmas[i]) for i in (t, *reversed(between)) if i <= t]
        start = min(self.sigma_start, levels[0])
        return torch.tensor([*dict.fromkeys(s for s in levels if s > start), start], dtype=torch.float64)

    def nfe(self, step: int) -> int:
        """Evaluations of a call at ``step``: the inversion's and one of the denoiser."""
        sigmas = self.grid(step).tolist()
        asked = [s if s > 0 else above for s, above in zip(sigmas[1:], sigmas[:-1])]
        return sum(self.inverse.cost(s) for s in asked) + self.denoiser.cost(sigmas[0])

    @torch.no_grad()
    def __call__(self, x: Tensor, cond: Cond = None, *, rng: Rng, step: int = 0) -> Estimate:
        """Estimate at x (B, *event).

        Info: ``shift``; ``sigma``; ``noise``, the root mean square of ``(z* - x) / sigma``, 1 for unit noise: far more
        says that the inversion has left the data; ``converged`` (t has reached its end); ``clamped`` (a level was below
        the model's smallest).

        Raises:
            NonFiniteError: if the target of a sample is not finite.
        """
        at, sigmas = x.detach(), self.grid(step)
        sigma, inverse, denoiser = float(sigmas[0]), Counting(self.inverse), Counting(self.denoiser)
        eps = torch.zeros_like(at)
        if len(sigmas) > 1:
            eps = (invert(inverse, at, sigmas, cond, max_eps=self.max_eps, eta=self.eta, rng=rng)[0] - at) / sigma
        target = self.target(denoiser, at, cond, eps, sigma)
        converged = isinstance(self.level, Anneal) and self.level.converged(step)
        info = {"sigma": sigma, "noise": float(eps.square().mean().sqrt()), "converged": converged}
        return checked(x, target, self.nfe(step), {**info, "clamped": inverse.clamped or denoiser.clamped})

    @staticmethod
    def target(denoiser: Denoiser, x: Tensor, cond: Cond, eps: Tensor, sigma: float) -> Tensor:
        """The deterministic core: ``D(x + sigma eps; sigma)`` for given noise; SDS's too, were its eps drawn."""
        return denoiser(x + sigma * eps, sigma, cond)
