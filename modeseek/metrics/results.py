"""A number with what it was made with, on paper and back, and which of them may stand side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from modeseek.errors import UsageError
from modeseek.metrics.weights import SHORT


@dataclass(frozen=True)
class Result:
    """One measured number.

    Attributes:
        metric: its name: a key of METRICS, such a name with " difference", or "similarity".
        value: the number.
        extractor: name of the network that made the features.
        filter: name of the resize filter before it.
        sha256: of its weights, 64 hexadecimal digits.
        dimensions: of the features, after a projection if there was one.
        counts: pictures in each set, the reference last.
        interval: of a bootstrap over the pictures, if one was asked for.
        spread: standard deviation over pictures, of a metric that is a mean over pictures.
        per_picture: its value of each picture.
    """

    metric: str
    value: float
    extractor: str
    filter: str
    sha256: str
    dimensions: int
    counts: tuple[int, ...]
    interval: tuple[float, float] | None = None
    spread: float | None = None
    per_picture: tuple[float, ...] | None = None

    @property
    def label(self) -> str:
        """What it was made with, in one line."""
        return (
            f"{self.metric} on {self.extractor} (filter {self.filter}, weights {self.sha256[:SHORT]}, "
            f"{self.dimensions} dimensions, {' and '.join(map(str, self.counts))} pictures)"
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON; nothing is shortened."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Result:
        """Back from JSON.

        Raises:
            UsageError: if entries are unknown, or one without a default is missing.
        """
        fields = {f.name: f for f in dataclasses.fields(cls)}
        unknown = sorted(set(stored) - set(fields))
        absent = [n for n, f in fields.items() if f.default is dataclasses.MISSING and n not in stored]
        if unknown or absent:
            raise UsageError(f"a stored result must have the entries of Result, got unknown {unknown}, absent {absent}")
        # JSON has no tuples
        entries: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in stored.items()}
        return cls(**entries)


def comparable(results: Iterable[Result], same_counts: bool = False) -> None:
    """Refuse results of one metric that stand side by side and were not made alike.

    Alike: kind of network, its weights, the resize filter and the number of dimensions. Different metrics are not
    compared with each other and may differ.

    Args:
        results: fresh or read back.
        same_counts: refuse other numbers of pictures too, whose bias differs.

    Raises:
        UsageError: naming the first two that differ.
    """
    first: dict[str, Result] = {}
    for result in results:
        other = first.setdefault(result.metric, result)
        if _made_with(result, same_counts) != _made_with(other, same_counts):
            raise UsageError(f"results must be made alike to be compared, got {other.label} and {result.label}")


def _made_with(result: Result, counts: bool) -> tuple[object, ...]:
    kind = result.extractor.split(":")[0]
    return (kind, result.filter, result.sha256, result.dimensions, result.counts if counts else ())
