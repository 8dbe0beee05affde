"""A flow-matching network of diffusers (Stable Diffusion 3, FLUX) as a denoiser."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modeseek.denoisers.base import Cond, check_level
from modeseek.denoisers.diffusers import Ask, at_work, known_level
from modeseek.noise import NoiseTable, Sigma, column, x0_from_flow


class FlowDenoiser:
    """``D(z; sigma) = z_f - tau v`` of a network that predicts ``v = eps - x``. Equation SIGMA-4.

    The network sees ``z_f = (1 - tau) z`` at the time ``tau = sigma / (1 + sigma)``, which is continuous: nothing is
    interpolated. Conversions run in float32 or better, the network in its own dtype.

    Args:
        network: a module of diffusers.
        table: the levels it was trained on, without tau = 1.
        ask: how it is called; one of ``denoisers.networks``. Times are tau, in [0, 1].
    """

    def __init__(self, network: Any, table: NoiseTable, ask: Ask) -> None:
        self.network, self.table, self.ask = network, table, ask
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
        tau = (level / (1 + level)).expand(z.shape[0]).to(z.device, torch.float32)
        level = level.to(working.device, working.dtype)
        native = (working / (1 + column(level, working))).to(self.network.dtype)
        v = self.ask(self.network, native, tau, cond).to(working.dtype)
        return x0_from_flow(working, level, v).to(z.dtype)


class PureNoise:
    """The same network at tau = 1, where z has no signal and sigma no number: ``D = eps - v(eps; 1)``. Equation FLOW-1.

    Called as a denoiser, guidance and all, it takes unit noise for z, whatever the level. A flow sampler begins there.
    """

    def __init__(self, denoiser: FlowDenoiser) -> None:
        self.denoiser = denoiser
        self.sigma_min, self.sigma_max = denoiser.sigma_min, float("inf")

    def cost(self, sigma: Sigma) -> int:
        """One evaluation."""
        return 1

    def __call__(self, z: Tensor, sigma: Sigma, cond: Cond = None) -> Tensor:
        """x0 (B, C, H, W) for unit noise z of that shape."""
        working, network = at_work(z), self.denoiser.network
        tau = torch.ones(z.shape[0], device=z.device)
        return (working - self.denoiser.ask(network, working.to(network.dtype), tau, cond).to(working.dtype)).to(
            z.dtype
        )
