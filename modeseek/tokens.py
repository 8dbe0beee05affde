"""Prompts to tokens, telling what an encoder does not see."""

from __future__ import annotations

import warnings
from textwrap import shorten
from typing import Any

from modeseek.errors import ModeseekWarning

SHOWN = 120  # characters of a prompt in a message


def tokenise(tokenizer: Any, texts: list[str], limit: int, encoder: str) -> Any:
    """Tokens of texts, cut or padded to ``limit``: ``input_ids`` and ``attention_mask``, (B, limit).

    Warns of each text that is cut, with the part that the encoder does not see.
    """
    for text in texts:
        ids = tokenizer(text, truncation=False, verbose=False).input_ids
        if len(ids) > limit:
            cut = tokenizer.decode(ids[limit - 1 : -1])  # the last token is the end's in both
            cut = cut.replace("</w>", " ").strip()  # CLIP's mark of a word's end, which some tokenizers leave in
            warnings.warn(
                f"the prompt {shorten(text, SHOWN)!r} is longer than the {limit} tokens of {encoder}, "
                f"which does not see {shorten(cut, SHOWN)!r}",
                ModeseekWarning,
                stacklevel=3,
            )
    return tokenizer(texts, padding="max_length", max_length=limit, truncation=True, return_tensors="pt")
