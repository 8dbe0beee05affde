"""What an encoding of points is."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from modeseek.errors import UsageError
from modeseek.randomness import Streams


class Encoding(nn.Module, ABC):
    """Turns points of the cube [-1, 1]^3 into numbers for a small network.

    Attributes:
        width: how many numbers a point.
    """

    width: int

    @abstractmethod
    def forward(self, points: Tensor) -> Tensor:
        """Encoding (N, width) of points (N, 3); points outside are moved to the cube's face."""


def one_stream(streams: Streams) -> Streams:
    """The streams, after a look at their number.

    Raises:
        UsageError: if they are not those of one sample: a field is one object, not a batch of them.
    """
    if len(streams) != 1:
        raise UsageError(f"a field must have one stream for its initial weights, got {len(streams)}")
    return streams
