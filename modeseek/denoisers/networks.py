"""How each network of diffusers is called: (network, native z, time (B,), cond) -> its output, shape of z or more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from modeseek.denoisers.base import Cond, spread
from modeseek.errors import UsageError

FLOW_STEPS = 1000  # Stable Diffusion 3 counts its time from 0 to 1000, whatever the scheduler's number of levels


def text_unet(network: Any, z: Tensor, t: Tensor, cond: Cond) -> Tensor:
    """Stable Diffusion's UNet; ``cond`` is the text's hidden states, (B or 1, L, D)."""
    if not isinstance(cond, Tensor):
        raise UsageError("cond must be encoded text; for unconditional, encode the empty prompt")
    output: Tensor = network(z, t, spread(cond, z.shape[0]).to(z.dtype)).sample
    return output


def text_time_unet(network: Any, z: Tensor, t: Tensor, cond: Cond) -> Tensor:
    """Stable Diffusion XL's UNet; ``cond`` has text (B or 1, L, D), pooled (B or 1, P) and time_ids (B or 1, 6)."""
    text, pooled, time_ids = entries(cond, z.shape[0], "text", "pooled", "time_ids")
    added = {"text_embeds": pooled.to(z.dtype), "time_ids": time_ids}
    output: Tensor = network(z, t, text.to(z.dtype), added_cond_kwargs=added).sample
    return output


def plain_unet(network: Any, z: Tensor, t: Tensor, cond: Cond) -> Tensor:
    """An unconditional UNet2DModel; ``cond`` must be None."""
    if cond is not None:
        raise UsageError("cond must be None: the model is unconditional")
    output: Tensor = network(z, t).sample
    return output


def class_transformer(network: Any, z: Tensor, t: Tensor, cond: Cond) -> Tensor:
    """DiT; ``cond`` has label (B or 1,), integers."""
    (label,) = entries(cond, z.shape[0], "label")
    side = network.config.sample_size
    if z.shape[2:] != (side, side):  # its positions are of that size alone
        raise UsageError(f"a DiT's latent must be {side} x {side}, got {z.shape[2]} x {z.shape[3]}")
    output: Tensor = network(z, timestep=t, class_labels=label).sample
    return output


def joint_transformer(network: Any, z: Tensor, tau: Tensor, cond: Cond) -> Tensor:
    """Stable Diffusion 3; ``cond`` has text (B or 1, L, D) and pooled (B or 1, P)."""
    text, pooled = entries(cond, z.shape[0], "text", "pooled")
    check_sides(z, network.config.patch_size)
    output: Tensor = network(
        hidden_states=z,
        timestep=tau * FLOW_STEPS,
        encoder_hidden_states=text.to(z.dtype),
        pooled_projections=pooled.to(z.dtype),
    ).sample
    return output


@dataclass(frozen=True)
class FluxTransformer:
    """FLUX; ``cond`` has text (B or 1, L, D) and pooled (B or 1, P); the network sees 2 x 2 patches as tokens.

    Attributes:
        guidance: the guidance that was distilled into FLUX-dev, an input of the network; None for FLUX-schnell.
    """

    guidance: float | None = None

    def __call__(self, network: Any, z: Tensor, tau: Tensor, cond: Cond) -> Tensor:
        """The velocity, shape of z (B, C, H, W); H and W even."""
        text, pooled = entries(cond, z.shape[0], "text", "pooled")
        check_sides(z, 2)
        guidance = None if self.guidance is None else torch.full_like(tau, self.guidance)
        output: Tensor = network(
            hidden_states=pack(z),
            timestep=tau,
            guidance=guidance,
            pooled_projections=pooled.to(z.dtype),
            encoder_hidden_states=text.to(z.dtype),
            txt_ids=torch.zeros(text.shape[1], 3, device=z.device),
            img_ids=positions(z),
        ).sample
        return unpack(output, z.shape[2], z.shape[3])


def pack(z: Tensor) -> Tensor:
    """(B, C, H, W) to tokens (B, H W / 4, 4 C): each is a 2 x 2 patch, channel first."""
    b, c, h, w = z.shape
    return z.reshape(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(b, h * w // 4, 4 * c)


def unpack(tokens: Tensor, height: int, width: int) -> Tensor:
    """Tokens (B, H W / 4, 4 C) to (B, C, H, W)."""
    b, _, c = tokens.shape
    patches = tokens.reshape(b, height // 2, width // 2, c // 4, 2, 2)
    return patches.permute(0, 3, 1, 4, 2, 5).reshape(b, c // 4, height, width)


def positions(z: Tensor) -> Tensor:
    """(H W / 4, 3): zero, row and column of each patch of z (B, C, H, W)."""
    rows, columns = torch.meshgrid(torch.arange(z.shape[2] // 2), torch.arange(z.shape[3] // 2), indexing="ij")
    return torch.stack([torch.zeros_like(rows), rows, columns], -1).reshape(-1, 3).to(z.device, torch.float32)


def check_sides(z: Tensor, patch: int) -> None:
    """Refuse a latent that does not divide into patches.

    Raises:
        UsageError: naming both.
    """
    if z.shape[2] % patch or z.shape[3] % patch:
        raise UsageError(f"the latent's sides must be multiples of {patch}, got {z.shape[2]} x {z.shape[3]}")


def entries(cond: Cond, batch: int, *names: str) -> list[Tensor]:
    """The named entries of a condition, each of ``batch`` rows; others are left alone.

    Raises:
        UsageError: if one is missing.
    """
    if not isinstance(cond, Mapping) or not set(names) <= set(cond):
        raise UsageError(f"cond must hold {', '.join(names)}, as the prior's encode_prompt gives them")
    return [spread(cond[name], batch) for name in names]
