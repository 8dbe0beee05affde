"""The random fields that runs begin with, small ones: a picture has 32 x 32 pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from modeseek.generators.nerf.field import RadianceField
from modeseek.generators.nerf.hash_grid import HashGrid
from modeseek.generators.nerf.renderer import Renderer
from modeseek.generators.nerf.triplane import Triplane
from modeseek.randomness import Streams

Build = Callable[[int], Renderer]  # a seed to a random field with its renderer
WEIGHTS = -1  # the streams' step of initial weights
ENCODING, NETWORK = -1, -2  # branches of these streams


def triplane(seed: int, *, samples: int = 20, blob: float = 5.0) -> Renderer:
    """A triplane and one hidden layer; exp, since the edge of a solid is sharper than softplus soon is."""
    streams = Streams(seed).at(WEIGHTS)
    planes = Triplane(streams.branch(ENCODING), resolution=32, features=8)
    field = RadianceField(planes, streams.branch(NETWORK), width=16, layers=1, blob_scale=blob, activation="exp")
    return Renderer(field, samples=samples)


def hash_grid(seed: int, *, samples: int = 20, blob: float = 5.0) -> Renderer:
    """A hash grid whose finest level has 51 cells a side, and one hidden layer."""
    streams = Streams(seed).at(WEIGHTS)
    grid = HashGrid(streams.branch(ENCODING), levels=6, table=2**15, base=8, growth=1.45)
    field = RadianceField(grid, streams.branch(NETWORK), width=32, layers=1, blob_scale=blob, activation="exp")
    return Renderer(field, samples=samples)


FIELDS: Mapping[str, Callable[..., Renderer]] = {"triplane": triplane, "hash grid": hash_grid}
