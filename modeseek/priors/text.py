"""Prompts to tokens to hidden states, and what is told or refused on the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modeseek.errors import PriorError


def listed(prompts: str | Sequence[str]) -> list[str]:
    """Prompts as a list."""
    return [prompts] if isinstance(prompts, str) else list(prompts)


@torch.no_grad()
def penultimate(encoder: Any, tokens: Any) -> tuple[Tensor, Tensor]:
    """Hidden states before the last layer (B, L, D) and first output, the pooled text where the encoder projects it."""
    output = encoder(tokens.input_ids.to(encoder.device), output_hidden_states=True)
    return output.hidden_states[-2], output[0]


@torch.no_grad()
def last_states(encoder: Any, tokens: Any) -> Tensor:
    """Last hidden states (B, L, D); with the attention mask where the encoder's configuration asks for it."""
    mask = None
    if getattr(encoder.config, "use_attention_mask", None):
        mask = tokens.attention_mask.to(encoder.device)
    hidden: Tensor = encoder(tokens.input_ids.to(encoder.device), attention_mask=mask)[0]
    return hidden


def check_width(name: str, network: str, wanted: int, encoders: str, got: int) -> None:
    """Refuse text encoders of another width than the network takes.

    Raises:
        PriorError: naming both.
    """
    if wanted != got:
        raise PriorError(
            f"the text must be as wide as the {network} of {name} takes, {wanted}, but {encoders} make {got}"
        )
