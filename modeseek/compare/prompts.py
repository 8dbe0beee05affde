"""Prompt files, and the prompts of a comparison that names none. Imports no torch."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from modeseek.errors import UsageError

# of the shipped model's pictures, chosen before any result was seen: single things that a person names at a glance
NAMES = (
    "hamburger",
    "pizza",
    "red apple",
    "strawberry",
    "birthday cake",
    "dog face",
    "cat face",
    "panda",
    "octopus",
    "butterfly",
    "sunflower",
    "evergreen tree",
    "rocket",
    "automobile",
    "sailboat",
    "house",
    "soccer ball",
    "guitar",
    "red heart",
    "light bulb",
)
# for models of sentences; the ten of the paper's supplement were not at hand
SENTENCES = (
    "a hamburger on a wooden table",
    "a photograph of an astronaut riding a horse",
    "a red fox in the snow",
    "a bowl of fresh strawberries",
    "a lighthouse on a cliff at sunset",
    "a vintage car parked in front of a house",
    "a blue ceramic teapot",
    "a tabby cat sleeping on a windowsill",
    "a sailing ship on a stormy sea",
    "a stack of old books with a candle on top",
)


def shipped(prior: str) -> tuple[str, ...]:
    """The prompts for a model where no file is given."""
    return NAMES if prior == "pocket" else SENTENCES


def read_prompts(path: Path) -> tuple[str, ...]:
    """One prompt a line; empty lines and those that begin with ``#`` are passed over.

    Raises:
        UsageError: if there is no such file, it is not UTF-8, holds no prompt, or one twice.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"prompts must be a file that can be read, got {path} ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} must be UTF-8 text; byte {error.start} is not") from error
    lines = [line.strip() for line in text.splitlines()]
    prompts = tuple(line for line in lines if line and not line.startswith("#"))
    if not prompts:
        raise UsageError(f"{path} must hold at least one prompt, one a line; it holds none")
    twice = [prompt for prompt, count in Counter(prompts).items() if count > 1]
    if twice:
        raise UsageError(f"{path} must hold each prompt once; it repeats {twice[0]!r}")
    return prompts
