"""Densities in closed form: what samplers and estimators are proved on."""

from modeseek.densities.attention import attend
from modeseek.densities.fractal import fractal
from modeseek.densities.mixture import Expansion, GaussianMixture
from modeseek.densities.modes import Modes, find_modes
from modeseek.densities.picture import open_set, picture_density
from modeseek.densities.sets import PlanarSet, planar_set

__all__ = [
    "Expansion",
    "GaussianMixture",
    "Modes",
    "PlanarSet",
    "attend",
    "find_modes",
    "fractal",
    "open_set",
    "picture_density",
    "planar_set",
]
