"""Estimators: x -> Estimate(grad, target, nfe, info); the table of names is in ``modeseek.methods``."""

from modeseek.estimators.base import Estimate, Estimator
from modeseek.estimators.msd import MSD
from modeseek.estimators.sds import SDS

__all__ = ["MSD", "SDS", "Estimate", "Estimator"]
