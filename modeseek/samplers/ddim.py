"""DDIM (Song et al. 2021): Euler's method for ``dz / dsigma = eps_hat``."""

from __future__ import annotations

import itertools

from torch import Tensor

from modeseek.denoisers.base import Cond, Denoiser
from modeseek.errors import UsageError
from modeseek.noise import check_sigmas
from modeseek.randomness import Rng, normal


def ddim_step(z: Tensor, x0: Tensor, sigma: float, sigma_next: float) -> Tensor:
    """``z' = x0 + (sigma' / sigma) (z - x0)``; shape of z. Equation DDIM-1."""
    return x0 + (sigma_next / sigma) * (z - x0)


def ancestral_levels(sigma: float, sigma_next: float, eta: float) -> tuple[float, float]:
    """Level to step down to and level of fresh noise that together make ``sigma_next``. Equation DDIM-2.

    ``up^2 = eta^2 sigma'^2 (sigma^2 - sigma'^2) / sigma^2`` and ``down^2 = sigma'^2 - up^2``: eta 0 is deterministic,
    eta 1 the ancestral sampler of DDPM.
    """
    up = eta * sigma_next * max(0.0, 1 - (sigma_next / sigma) ** 2) ** 0.5
    return max(0.0, sigma_next**2 - up**2) ** 0.5, up


def ddim(
    denoiser: Denoiser, z: Tensor, sigmas: Tensor, cond: Cond = None, *, eta: float = 0.0, rng: Rng | None = None
) -> Tensor:
    """Integrate z from ``sigmas[0]`` down to ``sigmas[-1]``.

    Args:
        denoiser: the model.
        z: (B, *event), noisy data at ``sigmas[0]``.
        sigmas: (T + 1,), falling; T evaluations.
        cond: condition of B rows or one.
        eta: share of fresh noise, 0 to 1.
        rng: needed where eta > 0.

    Returns:
        z at ``sigmas[-1]``, which is a sample where that level is 0.

    Raises:
        UsageError: if the grid does not fall, eta is outside [0, 1], or there is no rng for eta > 0.
    """
    check_sigmas(sigmas)
    if not 0 <= eta <= 1 or (eta > 0 and rng is None):
        raise UsageError(f"eta must be in [0, 1], with an rng where it is above 0, got eta {eta}, rng {rng}")
    levels = sigmas.tolist()
    for sigma, sigma_next in itertools.pairwise(levels):
        x0 = denoiser(z, sigma, cond)
        down, up = ancestral_levels(sigma, sigma_next, eta)
        z = ddim_step(z, x0, sigma, down)
        if up > 0 and rng is not None:
            z = z + up * normal(rng, z)
    return z
