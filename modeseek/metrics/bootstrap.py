"""How far a number would move with other pictures (Efron 1979)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from modeseek.errors import UsageError


@dataclass(frozen=True)
class Bootstrap:
    """Percentile intervals from resampled pictures, the same draws at every call. Equation BOOT-1.

    A statistic takes indices of pictures and gives a number, so any metric will do, and a difference of two methods
    whose i-th pictures share prompt and seed is resampled together: ``lambda i: fd(a[i], c) - fd(b[i], c)``.

    Attributes:
        resamples: number of draws.
        level: share of them inside the interval.
        seed: of the draws.

    Raises:
        UsageError: if there are no draws or the level is not a share.
    """

    resamples: int = 200
    level: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.resamples < 2 or not 0 < self.level < 1:
            raise UsageError(
                f"a bootstrap must have resamples >= 2 and 0 < level < 1, got {self.resamples} and {self.level}"
            )

    def draws(self, count: int) -> list[Tensor]:
        """Indices (count,) of each resample of ``count`` pictures, with repeats."""
        generator = torch.Generator().manual_seed(self.seed)
        return [torch.randint(count, (count,), generator=generator) for _ in range(self.resamples)]

    def interval(self, statistic: Callable[[Tensor], float], count: int, distinct: bool = False) -> tuple[float, float]:
        """Lower and upper end.

        Args:
            statistic: indices (k,) of pictures -> number.
            count: how many pictures there are.
            distinct: each drawn picture once. For a mean over pairs, such as an unbiased kernel distance, to which a
                repeated picture is a pair at distance 0. The draw is then a part of k of the n pictures without
                repeats, whose spread is sqrt((n - k) / k) of a whole sample's; it is scaled back about the full value.

        Raises:
            UsageError: if there are fewer than two pictures.
        """
        if count < 2:
            raise UsageError(f"a bootstrap needs two pictures or more, got {count}")
        draws = self.draws(count)
        values = _of_parts(statistic, draws, count) if distinct else [statistic(i) for i in draws]
        tail = (1 - self.level) / 2
        ends = torch.tensor([tail, 1 - tail], dtype=torch.float64)
        low, high = torch.tensor(values, dtype=torch.float64).quantile(ends).tolist()
        return low, high


def _of_parts(statistic: Callable[[Tensor], float], draws: list[Tensor], count: int) -> list[float]:
    """Values of the distinct pictures of each draw, their deviations scaled to those of a whole sample."""
    whole, values = statistic(torch.arange(count)), []
    for part in (torch.bincount(draw, minlength=count).nonzero()[:, 0] for draw in draws):
        if 2 <= len(part) < count:  # one picture has no pairs; all of them are no draw
            values.append(whole + (statistic(part) - whole) * (len(part) / (count - len(part))) ** 0.5)
    if not values:
        raise UsageError(f"a bootstrap over pairs needs three pictures or more, got {count}")
    return values
