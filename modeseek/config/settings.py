"""What a preset sets. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from modeseek.methods import EstimatorName, ProductSamplerName, Start, Weighting
from modeseek.schedules import Shape, TimeShape

Preset = Literal["quick", "paper"]
DEFAULT: Preset = "quick"
USUAL_GUIDANCE = 7.5  # of quick on any other model than the shipped one, which takes 4
SQRT2 = math.sqrt(2.0)


@dataclass(frozen=True)
class Settings:
    """The options that a preset sets, all of them known."""

    sampler: ProductSamplerName
    steps: int
    lr: float
    guidance: float
    sample_steps: int
    bandwidth_start: float
    bandwidth_end: float
    bandwidth_shape: Shape
    refresh_every: int
    start: Start
    kernel_low: float
    kernel_high: float
    max_eps: float
    time: TimeShape
    time_low: float
    weighting: Weighting
    inversion_guidance: float

    @property
    def last_target(self) -> int:
        """The step at which the last target is drawn."""
        return (self.steps - 1) // self.refresh_every * self.refresh_every


Presets = Mapping[Preset, Settings]
MethodPresets = Mapping[EstimatorName, Presets]
