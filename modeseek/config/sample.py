"""What ``modeseek sample`` is told. Imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from modeseek.config.gradient import DType
from modeseek.errors import UsageError


@dataclass(frozen=True)
class SampleConfig:
    """Draw DDIM samples of a text-to-image model, for comparison."""

    prompts: tyro.conf.Positional[tuple[str, ...]]
    """One sample for each prompt."""
    out: Path | None = None
    """Picture to write: one sheet, one row per prompt. A new one under modeseek-runs if not given."""
    prior: str = "pocket"
    """Pipeline directory, hub id, or "pocket" for the shipped model."""
    n: int = 1
    """Samples per prompt."""
    seed: int = 0
    """Of the noise."""
    steps: int = 32
    """DDIM steps."""
    guidance: Annotated[float, tyro.conf.arg(aliases=["--guidance-scale"])] = 4.0
    """Guidance scale; 1 is off."""
    negative: str = ""
    """Prompt of the unconditional branch."""
    eta: float = 0.0
    """Share of fresh noise: 0 is deterministic, 1 ancestral."""
    device: str = "cpu"
    """Where the model runs."""
    dtype: DType = "float32"
    """Of the model's weights."""

    def __post_init__(self) -> None:
        if not self.prompts or any(not p.strip() for p in self.prompts):
            raise UsageError(f"every prompt must hold at least one word, got {list(self.prompts)}")
        if self.n < 1 or self.steps < 1:
            raise UsageError(f"n and steps must be at least 1, got {self.n} and {self.steps}")
        if not math.isfinite(self.guidance):
            raise UsageError(f"guidance must be finite, got {self.guidance}")
        if self.out is not None and self.out.suffix.lower() != ".png":
            raise UsageError(f"out must be the name of a .png file, got {self.out}")
        if not 0 <= self.eta <= 1:
            raise UsageError(f"eta must be in [0, 1], got {self.eta}")
