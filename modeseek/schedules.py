"""Schedules as pure functions of the step, so that a resumed run sees what the uninterrupted one sees. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from modeseek.errors import UsageError

Shape = Literal["linear", "geometric", "cosine"]
AnnealShape = Literal["linear", "sqrt"]


@dataclass(frozen=True)
class Bandwidth:
    """A bandwidth that falls from ``start`` at step 0 to ``end`` at step ``steps - 1`` and stays there.

    Attributes:
        start: bandwidth at the first step, in units of the data; the paper's lambda divided by sqrt(2).
        end: bandwidth_min, where the run ends ("converged").
        steps: length of the fall.
        shape: linear, geometric (a constant factor a step) or cosine (half a cosine, flat at both ends).

    Raises:
        UsageError: if not 0 < end <= start, or steps < 1, or the shape is unknown.
    """

    start: float
    end: float
    steps: int
    shape: Shape = "geometric"

    def __post_init__(self) -> None:
        if not 0 < self.end <= self.start < math.inf:
            raise UsageError(f"a bandwidth must satisfy 0 < end <= start, got start {self.start} and end {self.end}")
        if self.steps < 1:
            raise UsageError(f"steps must be at least 1, got {self.steps}")
        if self.shape not in ("linear", "geometric", "cosine"):
            raise UsageError(f"the bandwidth's shape must be linear, geometric or cosine, got {self.shape!r}")

    def __call__(self, step: int) -> float:
        """Bandwidth at a step."""
        step = max(0, step)
        if step >= self.steps - 1:
            return self.end
        u = step / (self.steps - 1)
        if self.shape == "geometric":
            return float(self.start * (self.end / self.start) ** u)
        if self.shape == "cosine":
            u = 0.5 * (1 - math.cos(math.pi * u))
        return self.start + u * (self.end - self.start)

    def converged(self, step: int) -> bool:
        """Whether the bandwidth has reached its end."""
        return step >= self.steps - 1


@dataclass(frozen=True)
class Anneal:
    """A time that falls from ``start`` at step 0 to ``end`` at step ``steps - 1`` and stays there. Equation TIME-1.

    Attributes:
        start: at the first step, as a fraction of a noise table's timesteps; SDI's 0.98.
        end: at the last; SDI's 0.25.
        steps: length of the fall; the run's, or the level of the last steps never comes.
        shape: linear, or sqrt: ``start - (start - end) sqrt(u)``, fast at first (HiFA; Zhu et al. 2023).

    Raises:
        UsageError: if not 0 <= end <= start <= 1, or steps < 1, or the shape is unknown.
    """

    start: float
    end: float
    steps: int
    shape: AnnealShape = "linear"

    def __post_init__(self) -> None:
        if not 0 <= self.end <= self.start <= 1:
            raise UsageError(f"a time must satisfy 0 <= end <= start <= 1, got start {self.start} and end {self.end}")
        if self.steps < 1:
            raise UsageError(f"steps must be at least 1, got {self.steps}")
        if self.shape not in ("linear", "sqrt"):
            raise UsageError(f"the time's shape must be linear or sqrt, got {self.shape!r}")

    def __call__(self, step: int) -> float:
        """Time at a step."""
        step = max(0, step)
        if step >= self.steps - 1:
            return self.end
        u = step / (self.steps - 1)
        return self.start + (math.sqrt(u) if self.shape == "sqrt" else u) * (self.end - self.start)

    def converged(self, step: int) -> bool:
        """Whether the time has reached its end."""
        return step >= self.steps - 1
