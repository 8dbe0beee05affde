"""A diffusers UNet as a denoiser: the one place where a native parametrisation is translated."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modeseek.denoisers.base import Cond, check_level, spread
from modeseek.errors import PriorError, UsageError
from modeseek.noise import NoiseTable, Sigma, vp_scale, x0_from_eps, x0_from_v

PREDICTIONS = ("epsilon", "v_prediction", "sample")


class UNetDenoiser:
    """``D(z; sigma)`` of a variance-preserving, text-conditioned UNet. Equation SIGMA-3.

    The network sees ``a z`` at the timestep of sigma, interpolated in the log signal-to-noise ratio between the levels
    of its table. Conversions run in float32 or better, the network in its own dtype.

    Args:
        unet: called as ``unet(z_vp, t, cond).sample``.
        table: the levels it was trained on.
        prediction: what it predicts, by its scheduler's name: epsilon, v_prediction or sample.

    Raises:
        PriorError: for another prediction type, by name.
    """

    def __init__(self, unet: Any, table: NoiseTable, prediction: str) -> None:
        if prediction not in PREDICTIONS:
            raise PriorError(f"the prediction type must be one of {', '.join(PREDICTIONS)}, got {prediction!r}")
        self.unet, self.table, self.prediction = unet, table, prediction
        self.sigma_min, self.sigma_max = table.sigma_min, table.sigma_max

    def cost(self, sigma: Sigma) -> int:
        """One evaluation."""
        return 1

    def __call__(self, z: Tensor, sigma: Sigma, cond: Cond = None) -> Tensor:
        """x0 (B, C, H, W) for z of that shape; ``cond`` is the text's hidden states, (B or 1, L, D).

        Raises:
            UsageError: above sigma_max, or without a tensor as condition (a text model's unconditional is its encoding
                of the empty prompt).
        """
        if not isinstance(cond, Tensor):
            raise UsageError("cond must be encoded text; for unconditional, encode the empty prompt")
        check_level(self, sigma, "sigma")
        working = z.float() if z.dtype in (torch.float16, torch.bfloat16) else z
        known = sigma.detach().cpu() if isinstance(sigma, Tensor) else torch.tensor(sigma, dtype=torch.float64)
        level = known.double().clamp(min=self.sigma_min)
        t = self.table.timestep(level).expand(z.shape[0]).to(z.device, torch.float32)
        level = level.to(working.device, working.dtype)
        dtype = self.unet.dtype
        native = (vp_scale(level, working) * working).to(dtype)
        output = self.unet(native, t, spread(cond, z.shape[0]).to(dtype)).sample.to(working.dtype)
        if self.prediction == "epsilon":
            x0 = x0_from_eps(working, level, output)
        elif self.prediction == "v_prediction":
            x0 = x0_from_v(working, level, output)
        else:
            x0 = output
        return x0.to(z.dtype)
