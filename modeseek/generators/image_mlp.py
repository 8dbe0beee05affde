"""The paper's differentiable image: a coordinate network from a point of the unit square to a colour."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

from modeseek.errors import UsageError
from modeseek.randomness import Streams


class ImageMLP(nn.Module):
    """One small network per sample, ``(u, v) -> RGB``, on random Fourier features (Tancik et al. 2020).

    All networks of a batch run in batched matrix products; each is initialised from its own stream, so picture 17
    is the same in any batch.

    Args:
        streams: one per picture, for the initial weights.
        size: side of the rendered picture, in pixels; any resolution can be rendered later with ``at``.
        features: number of frequencies; each gives a sine and a cosine.
        bandwidth: standard deviation of the frequencies, in cycles per picture.
        width: of the hidden layers.
        layers: number of hidden layers.
    """

    coordinates: Tensor
    frequencies: Tensor

    def __init__(
        self,
        streams: Streams,
        size: int,
        *,
        features: int = 128,
        bandwidth: float = 3.0,
        width: int = 64,
        layers: int = 2,
    ) -> None:
        super().__init__()
        if size < 1 or features < 1 or width < 1 or layers < 1:
            raise UsageError(f"size, features, width and layers must be positive, got {size, features, width, layers}")
        b, sizes = len(streams), [2 * features, *[width] * layers, 3]
        self._kept: tuple[object, Tensor] | None = None
        self.register_buffer("frequencies", bandwidth * streams.normal((b, 2, features)))
        self.register_buffer("coordinates", self._grid(size), persistent=False)
        self.weights = nn.ParameterList(
            # He's scale; the last layer small, so that the first picture is nearly grey
            nn.Parameter(streams.normal((b, m, n)) * (math.sqrt(2 / m) if n != 3 else 0.1 / math.sqrt(m)))
            for m, n in itertools.pairwise(sizes)
        )
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(b, 1, n)) for n in sizes[1:])

    @staticmethod
    def _grid(size: int) -> Tensor:
        centres = (torch.arange(size, dtype=torch.float32) + 0.5) / size
        v, u = torch.meshgrid(centres, centres, indexing="ij")
        return torch.stack([u, v], -1).reshape(-1, 2)

    def forward(self) -> Tensor:
        """Images (B, 3, size, size) in (0, 1)."""
        return self._picture(self._colours(self._own_waves()))

    def at(self, size: int) -> Tensor:
        """The same pictures at another resolution, (B, 3, size, size), in parts of 16384 points."""
        parts = torch.split(self._grid(size).to(self.coordinates), 1 << 14)
        return self._picture(torch.cat([self._colours(self._waves(points)) for points in parts], 1))

    def _own_waves(self) -> Tensor:
        """Those of the picture's own points, which never change, kept: autograd would hold them from step to step."""
        frequencies = self.frequencies
        made_of = (frequencies.data_ptr(), frequencies._version, frequencies.device, frequencies.dtype)
        if self._kept is None or self._kept[0] != made_of:
            with torch.inference_mode(False):  # autograd refuses what was made in that mode
                self._kept = made_of, self._waves(self.coordinates)
        return self._kept[1]

    def _waves(self, points: Tensor) -> Tensor:
        """Sines and cosines (B, N, 2 features) of points (N, 2)."""
        phase = 2 * math.pi * (points @ self.frequencies)
        return torch.cat([phase.sin(), phase.cos()], -1)

    def _colours(self, h: Tensor) -> Tensor:
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases)):
            h = torch.baddbmm(bias, h, weight)
            h = h.sigmoid() if i == len(self.weights) - 1 else h.relu()
        return h

    @staticmethod
    def _picture(colours: Tensor) -> Tensor:
        side = math.isqrt(colours.shape[1])
        return colours.transpose(1, 2).reshape(-1, 3, side, side)
