"""A variance-preserving network of diffusers as a denoiser. Here and in flow.py native units are translated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from modeseek.denoisers.base import Cond, check_level
from modeseek.errors import PriorError
from modeseek.noise import NoiseTable, Sigma, vp_scale, x0_from_eps, x0_from_v

PREDICTIONS = ("epsilon", "v_prediction", "sample")

Ask = Callable[[Any, Tensor, Tensor, Cond], Tensor]  # (network, native z, time (B,), cond) -> the network's output


class VPDenoiser:
    """``D(z; sigma)`` of a variance-preserving network. Equation SIGMA-3.

    The network sees ``a z`` at the timestep of sigma, interpolated in the log signal-to-noise ratio between the levels
    of its table. Conversions run in float32 or better, the network in its own dtype. Channels beyond those of z, the
    learned variance of some models, are dropped.

    Args:
        network: a module of diffusers.
        table: the levels it was trained on.
        prediction: what it predicts, by its scheduler's name: epsilon, v_prediction or sample.
        ask: how it is called; one of ``denoisers.networks``.

    Raises:
        PriorError: for another prediction type, by name.
    """

    def __init__(self, network: Any, table: NoiseTable, prediction: str, ask: Ask) -> None:
        if prediction not in PREDICTIONS:
            raise PriorError(f"the prediction type must be one of {', '.join(PREDICTIONS)}, got {prediction!r}")
        self.network, self.table, self.prediction, self.ask = network, table, prediction, ask
        self.sigma_min, self.sigma_max = table.sigma_min, table.sigma_max

    def cost(self, sigma: Sigma) -> int:
        """One evaluation."""
        return 1

    def __call__(self, z: Tensor, sigma: Sigma, cond: Cond = None) -> Tensor:
        """x0 (B, C, H, W) for z of that shape; ``cond`` is what the prior's ``encode_prompt`` gives, of B rows or one.

        Raises:
            UsageError: above sigma_max, or for a condition that the network does not take.
        """
        check_level(self, sigma, "sigma")
        working, level = at_work(z), known_level(sigma, self.sigma_min)
        t = self.table.timestep(level).expand(z.shape[0]).to(z.device, torch.float32)
        level = level.to(working.device, working.dtype)
        native = (vp_scale(level, working) * working).to(self.network.dtype)
        output = self.ask(self.network, native, t, cond)[:, : z.shape[1]].to(working.dtype)
        if self.prediction == "epsilon":
            x0 = x0_from_eps(working, level, output)
        elif self.prediction == "v_prediction":
            x0 = x0_from_v(working, level, output)
        else:
            x0 = output
        return x0.to(z.dtype)


def at_work(z: Tensor) -> Tensor:
    """z in float32 or better: half precision is for networks."""
    return z.float() if z.dtype in (torch.float16, torch.bfloat16) else z


def known_level(sigma: Sigma, sigma_min: float) -> Tensor:
    """Levels in float64 on the CPU, shape () or (B,), none below the model's first."""
    known = sigma.detach().cpu() if isinstance(sigma, Tensor) else torch.tensor(sigma, dtype=torch.float64)
    return known.double().clamp(min=sigma_min)
