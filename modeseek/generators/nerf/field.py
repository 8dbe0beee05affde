"""The radiance field: an encoding, a small network, a soft ball to start from, and what is behind."""

from __future__ import annotations

import torch
from torch import Tensor

from modeseek.errors import UsageError
from modeseek.generators.nerf.background import Background, PlainBackground
from modeseek.generators.nerf.base import Field
from modeseek.generators.nerf.encoding import Encoding
from modeseek.generators.nerf.heads import ACTIVATIONS, MLP, Activation
from modeseek.randomness import Streams


class RadianceField(Field):
    """Density and colour of points from one network on their encoding; the same colour from every side.

    Equation HASH-3: ``density = a(f_0(e(p)) + s (1 - |p| / r))`` inside of the cube and 0 outside, ``colour =
    sigmoid(f_{1,2,3}(e(p)))``, with a = softplus or exp. The bias starts the field as a soft ball (threestudio's
    ``blob_magic3d``): an empty one would have no gradient, a full one hides what is in it.

    Args:
        encoding: of points, for example ``HashGrid`` or ``Triplane``.
        streams: one, for the network's initial weights.
        width: of the hidden layers.
        layers: number of hidden layers; 2 of 64 are the paper's.
        blob_scale: s, the bias of the raw density at the origin; 0 for none.
        blob_radius: r, where the bias is 0.
        activation: "softplus", or "exp", whose gradient is clamped.
        background: white unless given.

    Raises:
        UsageError: if an argument is out of its range or there is not one stream.
    """

    def __init__(
        self,
        encoding: Encoding,
        streams: Streams,
        *,
        width: int = 64,
        layers: int = 2,
        blob_scale: float = 10.0,
        blob_radius: float = 0.5,
        activation: Activation = "softplus",
        background: Background | None = None,
    ) -> None:
        super().__init__()
        if layers < 0 or width < 1:
            raise UsageError(f"width must be positive and layers not negative, got {width} and {layers}")
        if blob_radius <= 0 or blob_scale < 0:
            raise UsageError(f"blob_radius must be positive and blob_scale at least 0, got {blob_radius}, {blob_scale}")
        if activation not in ACTIVATIONS:
            raise UsageError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
        self.encoding = encoding
        self.network = MLP(streams, [encoding.width, *[width] * layers, 4])
        self.blob_scale, self.blob_radius, self.activation = blob_scale, blob_radius, activation
        self.behind = PlainBackground() if background is None else background

    def density(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Density (N,) and the raw colour (N, 3) at points (N, 3); the density is 0 outside of [-1, 1]^3."""
        raw = self.network(self.encoding(points))
        ball = self.blob_scale * (1 - points.norm(dim=-1) / self.blob_radius)
        density = ACTIVATIONS[self.activation](raw[:, 0] + ball)
        inside = (points.abs() <= 1).all(-1)
        return torch.where(inside, density, torch.zeros_like(density)), raw[:, 1:]

    def colour(self, features: Tensor) -> Tensor:
        """Colour (N, 3) of raw colours (N, 3)."""
        return features.sigmoid()

    def background(self, directions: Tensor) -> Tensor:
        """Colour (N, 3) behind, along unit directions (N, 3)."""
        colour: Tensor = self.behind(directions)
        return colour
