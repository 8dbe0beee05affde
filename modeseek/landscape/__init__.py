"""The landscape of a method: its gradient field on a grid of the plane, and the function that it descends."""

from modeseek.landscape.field import axis, gradient_field
from modeseek.landscape.minima import Comparison, compare, minima
from modeseek.landscape.potential import Potential, integrate, residual_limit
from modeseek.landscape.settle import settle
from modeseek.landscape.survey import Landscape, from_field, survey

__all__ = [
    "Comparison",
    "Landscape",
    "Potential",
    "axis",
    "compare",
    "from_field",
    "gradient_field",
    "integrate",
    "minima",
    "residual_limit",
    "settle",
    "survey",
]
