"""Score distillation via inversion (Lukoianov et al. 2024)."""

from __future__ import annotations

import math
from typing import get_args

import torch
from torch import Tensor

from modeseek.denoisers.base import Cond, Counting, Denoiser
from modeseek.errors import UsageError
from modeseek.estimators.base import Estimate, Info, checked
from modeseek.estimators.levels import Levels, check_weighting, weight
from modeseek.estimators.rise import asked, one, rise, rising
from modeseek.methods import Fresh, Pairing, Weighting
from modeseek.noise import NoiseTable, Sigma, column, vp_scale
from modeseek.randomness import Rng, uniform
from modeseek.schedules import Time, chosen


class SDI:
    """``grad = x - D(z*; sigma)``, z* the DDIM inversion of x to sigma(t), t falling with the step. Equation SDI-1.

    x is taken as a z at ``sigma_start`` and inverted over the timesteps ``1 + k T / n`` below t (T timesteps in the
    table, n ``inversion_steps``) up to t itself: about ``n t / T + 1`` evaluations. Where sigma(t) is not above
    ``sigma_start`` nothing is inverted and ``z* = x``.

    The public implementation pairs otherwise (``pairing="public"``, SDI-2): it inverts to ``t + d``, d uniform in
    [0, T / n) timesteps and capped at the last, and gives the network that z_vp as it is, *at timestep t*. The target
    then is ``(z_vp - s_t e(z_vp, t)) / a_t``, of which the data's share is a_{t+d} / a_t instead of 1. Its first
    evaluation is at timestep -99, with the level of timestep 0; here it is at the level of ``sigma_start``.

    Args:
        denoiser: the model, usually guided.
        table: the model's levels.
        inverse: the model for the inversion; the original's is guided by -6.5 in this project's convention.
        time: t as a fraction of the table: ``Anneal(0.98, 0.25, steps)`` over the run, a number, or ``Uniform``.
        weighting: w of ``grad = (w / sigma) (x - D)``, as SDS's; x0, that is ``w = sigma``, is SDI's own.
        pairing: remapped: z* is asked about at its own level; public: see above. For variance-preserving models.
        fresh: exchanged or added, see ``rise``; added is the public implementation's.
        inversion_steps: n, between 1 and T.
        eta: share of fresh noise in the inversion.
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
        time: Time | float,
        weighting: Weighting = "x0",
        pairing: Pairing = "remapped",
        fresh: Fresh = "exchanged",
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
        if pairing not in get_args(Pairing) or fresh not in get_args(Fresh):
            raise UsageError(
                f"pairing must be remapped or public, fresh exchanged or added, got {pairing!r} and {fresh!r}"
            )
        check_weighting(weighting)
        self.denoiser, self.table, self.inverse, self.time = denoiser, table, inverse, chosen(time, None)
        self.weighting, self.pairing, self.fresh = weighting, pairing, fresh
        self.inversion_steps, self.eta, self.sigma_start, self.max_eps = inversion_steps, eta, start, max_eps
        self.levels = Levels(table, self.time)

    def timesteps(self, rng: Rng, batch: int, step: int) -> tuple[Tensor, Tensor]:
        """t and where the inversion ends, (batch,) each; a falling t is the same for all, drawn ones are not."""
        first, last = self.levels.span(step)
        t = torch.full((batch,), first)
        if first < last:
            t = first + (uniform(rng, batch) * (last - first + 1)).long()
        if self.pairing == "remapped":
            return t, t
        beyond = (uniform(rng, batch) * (len(self.table) / self.inversion_steps)).long()
        return t, (t + beyond).clamp(max=len(self.table) - 1)

    def grid(self, t: Tensor, end: Tensor) -> Tensor:
        """Levels of an inversion for timesteps t (B,) up to ``end`` (B,): (K, B), rising from ``sigma_start``."""
        return rising(self.table, self.inversion_steps, self.sigma_start, t, end)

    def nfe(self, step: int) -> int:
        """Evaluations of a call at ``step``: the inversion's and one of the denoiser, at the dearest timestep."""
        first, last = self.levels.span(step)
        t = torch.tensor([last])
        beyond = len(self.table) - 1 if self.pairing == "public" else last
        up = sum(self.inverse.cost(s) for s in asked(self.grid(t, torch.tensor([beyond]))))
        return up + max(self.denoiser.cost(s) for s in self.table.sigmas[first : last + 1].tolist())

    @torch.no_grad()
    def __call__(self, x: Tensor, cond: Cond = None, *, rng: Rng, step: int = 0) -> Estimate:
        """Estimate at x (B, *event).

        Info: ``shift``; ``sigma``, the mean level of the batch; ``noise``, the root mean square of ``(z* - x) / sigma``
        where the inversion ends, 1 for unit noise: far more says that it has left the data; ``converged`` (t has
        reached its end); ``clamped`` (a level was below the model's smallest).

        Raises:
            NonFiniteError: if the target of a sample is not finite.
        """
        at, (t, end) = x.detach(), self.timesteps(rng, x.shape[0], step)
        levels, sigma = self.grid(t, end), self.table.sigma(t)
        inverse, denoiser = Counting(self.inverse), Counting(self.denoiser)
        z = rise(inverse, at, levels, cond, eta=self.eta, fresh=self.fresh, max_eps=self.max_eps, rng=rng)
        eps = (z - at) / column(levels[-1], at)
        x0 = self.target(denoiser, at, cond, eps, self._cast(sigma, at), self._cast(levels[-1], at))
        target = x0
        if self.weighting != "x0":
            target = at - column(weight(self.weighting, sigma) / sigma, at) * (at - x0)
        info: Info = {"sigma": float(sigma.mean()), "noise": float(eps.square().mean().sqrt())}
        info |= {"converged": self.time.converged(step), "clamped": inverse.clamped or denoiser.clamped}
        return checked(x, target, inverse.nfe + denoiser.nfe, info)

    @staticmethod
    def target(
        denoiser: Denoiser, x: Tensor, cond: Cond, eps: Tensor, sigma: Sigma, end: Sigma | None = None
    ) -> Tensor:
        """The deterministic core for given noise: ``D(x + sigma eps; sigma)``; SDS's too, were its eps drawn.

        With the noise at another level, ``end`` (Equation SDI-2): ``D((a_end / a) (x + end eps); sigma)``,
        ``a = 1 / sqrt(1 + sigma^2)``, which shows the network the z_vp of ``end`` at the timestep of ``sigma``.
        """
        end = sigma if end is None else end
        z = x + column(end, x) * eps
        return denoiser(vp_scale(end, x) / vp_scale(sigma, x) * z, sigma, cond)

    @staticmethod
    def _cast(sigma: Tensor, like: Tensor) -> Sigma:
        level = one(sigma)
        return level.to(like.device, like.dtype) if isinstance(level, Tensor) else level
