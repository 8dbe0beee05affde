"""How much signal a gradient estimator gives for its cost (the paper's eq. 17 and Table 1)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from modeseek.errors import UsageError


@dataclass(frozen=True)
class Efficiency:
    """``ln(|g|^2 / (MSE cost))``, averaged over points x, against two references. Equation MSD-17.

    *Own mean*: g is the mean of the N draws at x, MSE the variance about it. The paper's reading; an estimator that is
    wrong but quiet wins. ``|mean|^2`` contains its own sampling error, ``variance / N``, and as in the paper nothing is
    taken off: pure noise scores ``floor``, and nobody scores much lower. ``pooled`` is free of it.

    *True shift*: g is the truth, MSE the mean of ``|scale draw - truth|^2``, bias and variance together. The factor is
    one for all x and fitted to the means, so that an estimator that is right up to a factor scores as against its own.

    Infinities: a point with MSE 0 counts +inf, any other with g = 0 counts -inf, and a mean over points is what
    arithmetic makes of that. Using the mean of n draws as the estimator changes nothing against the own mean (MSE / n,
    cost n); against the truth it is less efficient where there is bias.

    Attributes:
        log_own: mean over x of ``own``.
        log_true: mean over x of ``true``; NaN where ``scale`` is.
        pooled: ``ln(sum |g|^2 / (cost sum MSE))`` about the own mean, sums over x, the sampling error taken off; NaN if
            nothing is left.
        floor: expected ``log_own`` of isotropic Gaussian noise of mean zero, ``-ln(N cost) + psi(D/2) - ln(D/2)``.
        resolution: ``sum |mean|^2 / sum (variance / N)``: 1 for nothing but noise, inf for no noise.
        scale: least-squares factor from the mean to the truth, the sampling error taken off; NaN if the means do not
            stand out of it: draw more.
        relative_bias: ``|scale mean - truth| / |truth|``, norms over all x; the sampling error of the mean taken off
            its square, which then has no bias for a given scale; a negative rest is cut to 0.
        relative_bias_raw: the same with nothing taken off.
        relative_std: ``scale sqrt(variance) / |truth|``, norms over all x, for one draw.
        cosine: mean over x of ``cosines``.
        infinite_own: number of x where ``own`` is infinite.
        infinite_true: number of x where ``true`` is infinite.
        own: (P,), in nats.
        true: (P,), in nats.
        cosines: (P,), of mean and truth, 0 where either is zero; the sampling error lowers them.
    """

    log_own: float
    log_true: float
    pooled: float
    floor: float
    resolution: float
    scale: float
    relative_bias: float
    relative_bias_raw: float
    relative_std: float
    cosine: float
    infinite_own: int
    infinite_true: int
    own: Tensor
    true: Tensor
    cosines: Tensor


def efficiency(draws: Tensor, truth: Tensor, cost: float) -> Efficiency:
    """Efficiency of an estimator from repeated draws at several points. Equation MSD-17.

    Args:
        draws: (P, N, D), N >= 2 independent single-sample gradients at each of P points; from an estimator without
            noise the same one twice.
        truth: (P, D), the true gradient in the same sense, downhill: minus the mean shift of the true density.
        cost: denoiser evaluations per draw.

    Raises:
        UsageError: if the shapes do not fit, something is NaN or infinite, the truth is zero everywhere, or the cost is
            not positive.
    """
    _check(draws, truth, cost)
    draws, truth = draws.detach().double(), truth.detach().double()
    # about the first draw: equal draws then have a variance of exactly zero
    offsets = draws - draws[:, :1]
    mean, variance = draws[:, 0] + offsets.mean(1), offsets.var(1).sum(-1)
    power, error, size = mean.square().sum(-1), variance / draws.shape[1], truth.square().sum(-1)
    signal = (power - error).sum()
    scale = float((mean * truth).sum(-1).sum() / signal) if bool(signal > 0) else math.nan
    missed = (scale * mean - truth).square().sum()
    own = _log_ratio(power, variance, cost)
    true = _log_ratio(size, (scale * draws - truth[:, None]).square().sum(-1).mean(1), cost)
    cosines = cosine_similarity(mean, truth, dim=-1, eps=1e-300)
    return Efficiency(
        log_own=float(own.mean()),
        log_true=float(true.mean()),
        pooled=float(_log_ratio(signal, variance.sum(), cost)),
        floor=float(_floor(draws.shape[2]) - math.log(draws.shape[1] * cost)),
        resolution=float(power.sum() / error.sum()),
        scale=scale,
        relative_bias=float(((missed - scale**2 * error.sum()).clamp(min=0) / size.sum()).sqrt()),
        relative_bias_raw=float((missed / size.sum()).sqrt()),
        relative_std=float((scale**2 * variance.sum() / size.sum()).sqrt()),
        cosine=float(cosines.mean()),
        infinite_own=int(own.isinf().sum()),
        infinite_true=int(true.isinf().sum()),
        own=own,
        true=true,
        cosines=cosines,
    )


def _log_ratio(power: Tensor, mse: Tensor, cost: float) -> Tensor:
    """ln(power / (mse cost)), +inf where the error is zero."""
    ratio = power.log() - mse.log() - math.log(cost)
    return torch.where(mse == 0, torch.full_like(ratio, math.inf), ratio)


def _floor(dim: int) -> Tensor:
    """E ln(chi^2_D / D): N |mean|^2 / variance of pure noise."""
    half = torch.tensor(dim / 2, dtype=torch.float64)
    return torch.digamma(half) - half.log()


def _check(draws: Tensor, truth: Tensor, cost: float) -> None:
    fits = draws.ndim == 3 and draws.numel() > 0 and truth.shape == (draws.shape[0], draws.shape[2])
    if not fits or draws.shape[1] < 2:
        raise UsageError(
            f"draws must be (P, N, D) with N >= 2 and truth (P, D), got {(*draws.shape,)} and {(*truth.shape,)}"
        )
    if not (bool(draws.isfinite().all()) and bool(truth.isfinite().all())):
        raise UsageError("draws and truth must be finite, got NaN or infinity")
    if not bool(truth.any()):
        raise UsageError("truth must have a point where it is not zero, got zeros")
    if not 0 < cost < math.inf:
        raise UsageError(f"cost must be a positive number of evaluations, got {cost}")
