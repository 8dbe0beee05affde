"""What is behind the object."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from modeseek.errors import UsageError
from modeseek.generators.nerf.heads import MLP
from modeseek.randomness import Streams

WHITE = (1.0, 1.0, 1.0)


class Background(nn.Module, ABC):
    """A colour in every direction."""

    @abstractmethod
    def forward(self, directions: Tensor) -> Tensor:
        """Colour (N, 3) in [0, 1] seen along unit directions (N, 3)."""


class PlainBackground(Background):
    """One colour everywhere.

    Args:
        colour: red, green and blue, in [0, 1].
        learned: whether it is trained, from there; then it must be inside of (0, 1), for it is kept as a logit.

    Raises:
        UsageError: if the colour is out of its range.
    """

    kept: Tensor

    def __init__(self, colour: Sequence[float] = WHITE, *, learned: bool = False) -> None:
        super().__init__()
        if len(colour) != 3 or not all(0 <= c <= 1 for c in colour):
            raise UsageError(f"a background must be three numbers between 0 and 1, got {tuple(colour)}")
        if learned and not all(0 < c < 1 for c in colour):
            raise UsageError(f"a learned background must start inside of 0 and 1, got {tuple(colour)}")
        self.learned = learned
        if learned:
            self.kept = nn.Parameter(torch.tensor(colour).logit())
        else:
            self.register_buffer("kept", torch.tensor(colour))

    def forward(self, directions: Tensor) -> Tensor:
        """The colour, (N, 3)."""
        colour = self.kept.sigmoid() if self.learned else self.kept
        return colour.to(directions.dtype).expand(len(directions), 3)


class DirectionBackground(Background):
    """A small network on the view direction, as the paper has it.

    It sees sines and cosines of few octaves, and is narrow: a background that could draw would draw the object.

    Args:
        streams: one, for the initial weights.
        width: of the hidden layers (threestudio's 16).
        layers: number of hidden layers.
        octaves: frequencies 1, 2, 4 ... of the direction's three numbers.

    Raises:
        UsageError: if a number is out of its range or there is not one stream.
    """

    def __init__(self, streams: Streams, *, width: int = 16, layers: int = 2, octaves: int = 2) -> None:
        super().__init__()
        if layers < 1 or octaves < 0:
            raise UsageError(f"layers must be positive and octaves not negative, got {layers} and {octaves}")
        self.octaves = octaves
        self.network = MLP(streams, [3 * (1 + 2 * octaves), *[width] * layers, 3])

    def forward(self, directions: Tensor) -> Tensor:
        """Colours (N, 3) of unit directions (N, 3)."""
        phases = [directions * 2**k for k in range(self.octaves)]
        waves = [wave for phase in phases for wave in (phase.sin(), phase.cos())]
        return torch.sigmoid(self.network(torch.cat([directions, *waves], -1)))
