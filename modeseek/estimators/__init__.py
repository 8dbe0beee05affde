"""Estimators: x -> Estimate(grad, target, nfe, info); the table of names is in ``modeseek.methods``."""

from modeseek.estimators.base import Estimate, Estimator, Trains
from modeseek.estimators.image_space import ImageSpace
from modeseek.estimators.msd import MSD
from modeseek.estimators.sdi import SDI
from modeseek.estimators.sds import SDS
from modeseek.estimators.trained import Trained
from modeseek.estimators.vsd import VSD, Auxiliary, Particles

__all__ = [
    "MSD",
    "SDI",
    "SDS",
    "VSD",
    "Auxiliary",
    "Estimate",
    "Estimator",
    "ImageSpace",
    "Particles",
    "Trained",
    "Trains",
]
