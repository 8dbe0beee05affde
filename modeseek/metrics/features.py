"""Features of a set of pictures, with the name of what made them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from modeseek.errors import UsageError
from modeseek.metrics.points import checked_points
from modeseek.metrics.weights import SHORT


@dataclass(frozen=True, eq=False)
class Features:
    """Rows of numbers that may only be compared with rows of the same origin.

    Attributes:
        values: (N, D), kept in float64.
        extractor: name of the network, like ``clip:pocket-clip``.
        filter: name of the resize filter before it.
        sha256: of its weights, 64 hexadecimal digits.

    Raises:
        UsageError: if the values are not finite rows.
    """

    values: Tensor
    extractor: str
    filter: str
    sha256: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", checked_points(self.values, "features"))

    @property
    def count(self) -> int:
        """N, the number of pictures."""
        return len(self.values)

    @property
    def origin(self) -> tuple[str, str, str]:
        """Kind of network, resize filter, hash of the weights: a copy in a directory of another name is the same."""
        return (self.extractor.split(":")[0], self.filter, self.sha256)

    @property
    def label(self) -> str:
        """What made them, in one line."""
        return f"{self.extractor} (filter {self.filter}, weights {self.sha256[:SHORT]})"


def check_origin(*sets: Features) -> None:
    """Refuse features that different networks, weights or resize filters made.

    Raises:
        UsageError: naming the first two that differ.
    """
    first = sets[0]
    for other in sets[1:]:
        if first.origin != other.origin:
            raise UsageError(f"features must be of one extractor, got {first.label} and {other.label}")


def check_features(a: Tensor, b: Tensor) -> None:
    """Refuse what is not (N, D) and (M, D) with at least two rows each.

    Raises:
        UsageError: with both shapes.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise UsageError(f"features must be (N, D) and (M, D) with N, M >= 2, got {(*a.shape,)} and {(*b.shape,)}")
