"""DDIM inversion: the same step with sigma rising, from clean data to the noise that would have made it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from modeseek.denoisers.base import Cond, Denoiser
from modeseek.errors import UsageError
from modeseek.noise import check_sigmas
from modeseek.randomness import Rng, normal


def rising_levels(sigma: float, sigma_next: float, eta: float) -> tuple[float, float]:
    """Level to step up to and level of fresh noise that together make ``sigma_next``. Equation DDIM-4.

    ``up^2 = eta^2 (sigma'^2 - sigma^2)`` and ``down^2 = sigma'^2 - up^2``: eta^2 is the share of the variance to be
    added that is drawn afresh. Eta 1 is the forward process itself, ``z' = z + up n``, whatever the denoiser says.
    Falling, ``ddim.ancestral_levels`` says the same of the reverse process.
    """
    if eta == 0:
        return sigma_next, 0.0
    up = eta * math.sqrt(sigma_next**2 - sigma**2)
    return math.sqrt((1 - eta**2) * sigma_next**2 + (eta * sigma) ** 2), up


def invert(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    cond: Cond = None,
    *,
    max_eps: float = math.inf,
    eta: float = 0.0,
    rng: Rng | None = None,
) -> list[Tensor]:
    """Trajectory of x up the grid: one z for every level of ``sigmas``. Equations DDIM-3 and DDIM-4.

    ``z(sigma') = z + (sigma' - sigma) eps_hat(z; sigma)``, starting with ``z = x`` at the last level. Where that is 0,
    eps_hat is taken at the level above. With eta the step goes to ``down`` instead and ``up`` of fresh noise is added,
    so that z keeps the distribution of noisy data. (The public SDI adds noise without taking it off the step.)

    Args:
        denoiser: the model, usually without guidance.
        x: (B, *event), clean data.
        sigmas: (T + 1,), falling, as for sampling; T evaluations.
        cond: condition of B rows or one.
        max_eps: largest root mean square of eps_hat per sample, in units of unit noise. With a sharp denoiser
            everything off the data has far more than unit noise and is blown up; 1 keeps it on the shell.
        eta: share of fresh noise, 0 to 1.
        rng: needed where eta > 0.

    Returns:
        T + 1 tensors (B, *event) in the order of ``sigmas``.

    Raises:
        UsageError: if the grid does not fall, eta is outside [0, 1], or there is no rng for eta > 0.
    """
    levels = check_sigmas(sigmas).tolist()
    if not 0 <= eta <= 1 or (eta > 0 and rng is None):
        raise UsageError(f"eta must be in [0, 1], with an rng where it is above 0, got eta {eta}, rng {rng}")
    trajectory = [x]
    for sigma, sigma_next in zip(levels[:0:-1], levels[-2::-1]):
        z = trajectory[-1]
        seen = sigma if sigma > 0 else sigma_next
        eps_hat = capped((z - denoiser(z, seen, cond)) / seen, max_eps)
        down, up = rising_levels(sigma, sigma_next, eta)
        z = z + (down - sigma) * eps_hat
        trajectory.append(z + up * normal(rng, z) if up > 0 and rng is not None else z)
    return trajectory[::-1]


def capped(eps: Tensor, most: float) -> Tensor:
    """``eps`` (B, *event), each sample scaled down to a root mean square of at most ``most``."""
    if most == math.inf:
        return eps
    rms = eps.flatten(1).square().mean(1).sqrt().reshape(-1, *([1] * (eps.ndim - 1)))
    return eps * torch.clamp(most / rms, max=1)
