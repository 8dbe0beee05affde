"""Schedules as pure functions of the step, so that a resumed run sees what the uninterrupted one sees. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

from modeseek.errors import UsageError

Shape = Literal["linear", "geometric", "cosine"]
AnnealShape = Literal["linear", "sqrt"]
TimeShape = Literal["uniform", "linear", "sqrt"]


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


class Time(Protocol):
    """Which timesteps an estimator may take at a step: those of a range, uniformly, each sample its own.

    A time that falls in a fixed way is a range of one timestep. ``Uniform`` and ``Anneal`` are times.
    """

    def range(self, step: int) -> tuple[float, float]:
        """First and last time at a step, both included, as fractions of a noise table's timesteps."""

    def converged(self, step: int) -> bool:
        """Whether the time has come to its end, after which nothing changes."""


@dataclass(frozen=True)
class Uniform:
    """Times drawn uniformly between ``low`` and ``high``; after a drop, up to a smaller end only. Equation TIME-2.

    Attributes:
        low: smallest time, as a fraction of a noise table's timesteps; DreamFusion's 0.02.
        high: largest time; DreamFusion's 0.98.
        drop: a step, and the largest time from that step on; ProlificDreamer's is 0.5.

    Raises:
        UsageError: if not 0 <= low <= high <= 1, or the drop's step is negative, or its end not between low and high.
    """

    low: float = 0.02
    high: float = 0.98
    drop: tuple[int, float] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high <= 1:
            raise UsageError(f"a time range must satisfy 0 <= low <= high <= 1, got ({self.low}, {self.high})")
        if self.drop is not None and not (self.drop[0] >= 0 and self.low <= self.drop[1] <= self.high):
            raise UsageError(
                f"the time's drop must be a step and a time from {self.low} to {self.high}, got {self.drop}"
            )

    def range(self, step: int) -> tuple[float, float]:
        """Smallest and largest time at a step."""
        return self.low, self.high if self.drop is None or step < self.drop[0] else self.drop[1]

    def converged(self, step: int) -> bool:
        """Never: what is drawn anew at every step comes to no end."""
        return False


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

    def range(self, step: int) -> tuple[float, float]:
        """The time at a step, twice: a range of one."""
        return self(step), self(step)


def chosen(time: Time | float | None, time_range: tuple[float, float] | None) -> Time:
    """The time that an estimator is told: a policy, a number (that time alone), or in short the range of a ``Uniform``.

    Raises:
        UsageError: if both are given, or a number lies outside [0, 1].
    """
    if time is not None and time_range is not None:
        raise UsageError(f"either time or time_range must be given, got {time} and {time_range}")
    if time_range is not None:
        return Uniform(*time_range)
    if time is None:
        return Uniform()
    return Uniform(time, time) if isinstance(time, int | float) else time


@dataclass(frozen=True)
class WarmCosine:
    """A learning rate that rises from 0 to ``peak`` over ``warm_up`` steps and falls along half a cosine to 0.

    threestudio's 2D playground: 1e-1, 100, one and a half times the run's length, so that it ends at 0.028.

    Attributes:
        peak: largest value.
        warm_up: steps until it is reached.
        horizon: step at which it would be 0.

    Raises:
        UsageError: if not 0 < peak and 0 <= warm_up < horizon.
    """

    peak: float
    warm_up: int
    horizon: int

    def __post_init__(self) -> None:
        if not 0 < self.peak < math.inf or not 0 <= self.warm_up < self.horizon:
            raise UsageError(
                "a warm-up must satisfy 0 < peak and 0 <= warm_up < horizon, "
                f"got {self.peak}, {self.warm_up} and {self.horizon}"
            )

    def __call__(self, step: int) -> float:
        """Value at a step."""
        if step < self.warm_up:
            return self.peak * step / self.warm_up
        u = min(1.0, (step - self.warm_up) / (self.horizon - self.warm_up))
        return self.peak * 0.5 * (1 + math.cos(math.pi * u))
