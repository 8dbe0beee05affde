"""A byte-pair tokenizer in CLIP's layout, trained from scratch on the captions.

The vocabulary holds every byte, alone and at the end of a word, so that any prompt can be written, then the merges.
"""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

MAX_TOKENS = 24  # the longest name has 13
START, END = "<|startoftext|>", "<|endoftext|>"
# CLIP's own splitting: words, single digits, runs of signs
SPLIT = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""


def train_tokenizer(texts: list[str], folder: Path, *, merges: int = 2500) -> CLIPTokenizer:
    """Learn at most ``merges`` merges from ``texts``, write the tokenizer to ``folder``, open it from there."""
    tokenizer = Tokenizer(models.BPE(continuing_subword_prefix="", end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    ends = [c + "</w>" for c in alphabet]
    trainer = trainers.BpeTrainer(
        vocab_size=2 * len(alphabet) + merges,
        special_tokens=ends,  # else their order, and with it that of tied merges, differs from run to run
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    learned = json.loads(tokenizer.to_str())["model"]["merges"][:merges]
    pairs = [m if isinstance(m, str) else " ".join(m) for m in learned]
    words = alphabet + ends + [p.replace(" ", "") for p in pairs] + [START, END]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(
        json.dumps({w: i for i, w in enumerate(dict.fromkeys(words))}, ensure_ascii=False)
    )
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *pairs]) + "\n")
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": MAX_TOKENS, "do_lower_case": True, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2))
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2))
    opened: CLIPTokenizer = CLIPTokenizer.from_pretrained(folder)
    return opened
