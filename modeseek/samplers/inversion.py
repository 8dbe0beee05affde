"""DDIM inversion: the same step with sigma rising, from clean data to the noise that would have made it."""

from __future__ import annotations

import math

from torch import Tensor

from modeseek.denoisers.base import Cond, Denoiser
from modeseek.noise import check_sigmas


def invert(
    denoiser: Denoiser, x: Tensor, sigmas: Tensor, cond: Cond = None, *, max_eps: float = math.inf
) -> list[Tensor]:
    """Trajectory of x up the grid: one z for every level of ``sigmas``. Equation DDIM-3.

    ``z(sigma') = z + (sigma' - sigma) eps_hat(z; sigma)``, starting with ``z = x`` at the last level. Where that is 0,
    eps_hat is taken at the level above.

    Args:
        denoiser: the model, usually without guidance.
        x: (B, *event), clean data.
        sigmas: (T + 1,), falling, as for sampling; T evaluations.
        cond: condition of B rows or one.
        max_eps: largest root mean square of eps_hat per sample, in units of unit noise. With a sharp denoiser
            everything off the data has far more than unit noise and is blown up; 1 keeps it on the shell.

    Returns:
        T + 1 tensors (B, *event) in the order of ``sigmas``.
    """
    levels = check_sigmas(sigmas).tolist()
    trajectory = [x]
    for sigma, sigma_next in zip(levels[:0:-1], levels[-2::-1]):
        z = trajectory[-1]
        seen = sigma if sigma > 0 else sigma_next
        eps_hat = (z - denoiser(z, seen, cond)) / seen
        if max_eps < math.inf:
            rms = eps_hat.flatten(1).square().mean(1).sqrt().reshape(-1, *([1] * (z.ndim - 1)))
            eps_hat = eps_hat * (max_eps / rms).clamp(max=1)
        trajectory.append(z + (sigma_next - sigma) * eps_hat)
    return trajectory[::-1]
