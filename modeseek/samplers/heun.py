"""Heun's second-order method (Karras et al. 2022, Algorithm 1)."""

from __future__ import annotations

import itertools

from torch import Tensor

from modeseek.denoisers.base import Cond, Denoiser
from modeseek.noise import check_sigmas


def heun(denoiser: Denoiser, z: Tensor, sigmas: Tensor, cond: Cond = None) -> Tensor:
    """Integrate z from ``sigmas[0]`` down to ``sigmas[-1]`` with 2T - 1 evaluations (2T if the last level is not 0).

    Equation HEUN-1. Arguments and result as ``ddim``.
    """
    levels: list[float] = check_sigmas(sigmas).tolist()
    for sigma, sigma_next in itertools.pairwise(levels):
        slope = (z - denoiser(z, sigma, cond)) / sigma
        euler = z + (sigma_next - sigma) * slope
        if sigma_next == 0:
            return euler
        slope_next = (euler - denoiser(euler, sigma_next, cond)) / sigma_next
        z = z + (sigma_next - sigma) * 0.5 * (slope + slope_next)
    return z
