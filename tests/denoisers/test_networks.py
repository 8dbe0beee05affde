"""How networks are called: packing, and what is refused before a network is asked."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from modeseek.denoisers import networks
from modeseek.errors import UsageError


def test_packing_is_that_of_the_pipeline() -> None:
    from diffusers import FluxPipeline

    z = torch.arange(2 * 3 * 4 * 6, dtype=torch.float32).reshape(2, 3, 4, 6)
    tokens = networks.pack(z)
    torch.testing.assert_close(tokens, FluxPipeline._pack_latents(z, *z.shape), rtol=0, atol=0)
    torch.testing.assert_close(networks.unpack(tokens, 4, 6), z, rtol=0, atol=0)
    expected = FluxPipeline._prepare_latent_image_ids(2, 2, 3, "cpu", torch.float32)
    torch.testing.assert_close(networks.positions(z), expected, rtol=0, atol=0)


def test_entries_are_spread_and_others_left_alone() -> None:
    cond = {"text": torch.ones(1, 5, 2), "pooled": torch.ones(3, 2), "view": torch.ones(3, 4)}
    text, pooled = networks.entries(cond, 3, "text", "pooled")
    assert (text.shape, pooled.shape) == ((3, 5, 2), (3, 2))
    with pytest.raises(UsageError, match="1 or 4 rows, got 3"):
        networks.entries(cond, 4, "pooled")
    with pytest.raises(UsageError, match="must hold text, pooled"):
        networks.entries({"text": torch.ones(1, 5, 2)}, 1, "text", "pooled")


@pytest.mark.parametrize(
    ("ask", "z", "cond", "match"),
    [
        (networks.text_unet, torch.ones(1, 4, 8, 8), None, "empty prompt"),
        (networks.plain_unet, torch.ones(1, 3, 8, 8), torch.ones(1), "must be None"),
        (networks.text_time_unet, torch.ones(1, 4, 8, 8), {"text": torch.ones(1, 2, 3)}, "text, pooled, time_ids"),
        (networks.class_transformer, torch.ones(1, 4, 6, 8), {"label": torch.ones(1)}, "8 x 8, got 6 x 8"),
        (networks.joint_transformer, torch.ones(1, 4, 7, 8), "both", "multiples of 2, got 7 x 8"),
        (networks.FluxTransformer(), torch.ones(1, 4, 8, 9), "both", "multiples of 2, got 8 x 9"),
    ],
)
def test_refusals(ask: Any, z: torch.Tensor, cond: Any, match: str) -> None:
    network = SimpleNamespace(config=SimpleNamespace(sample_size=8, patch_size=2))  # cannot be called
    if cond == "both":
        cond = {"text": torch.ones(1, 2, 3), "pooled": torch.ones(1, 3)}
    with pytest.raises(UsageError, match=match):
        ask(network, z, torch.ones(1), cond)
