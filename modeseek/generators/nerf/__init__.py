"""Radiance fields: what they are made of, how they are rendered, and the generator that shows them from new cameras."""

from modeseek.generators.nerf.background import Background, DirectionBackground, PlainBackground
from modeseek.generators.nerf.base import Field, Rendered, Samples
from modeseek.generators.nerf.field import RadianceField
from modeseek.generators.nerf.hash_grid import HashGrid
from modeseek.generators.nerf.occupancy import OccupancyGrid
from modeseek.generators.nerf.regularisers import Regularisers
from modeseek.generators.nerf.renderer import Renderer
from modeseek.generators.nerf.scene import NeRF, Stage
from modeseek.generators.nerf.triplane import Triplane

__all__ = [
    "Background",
    "DirectionBackground",
    "Field",
    "HashGrid",
    "NeRF",
    "OccupancyGrid",
    "PlainBackground",
    "RadianceField",
    "Regularisers",
    "Rendered",
    "Renderer",
    "Samples",
    "Stage",
    "Triplane",
]
