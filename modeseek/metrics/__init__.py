"""Metrics: samples, reference -> number."""

from modeseek.metrics.clip import ImageText
from modeseek.metrics.efficiency import Efficiency, efficiency
from modeseek.metrics.frechet import frechet_distance
from modeseek.metrics.kernel_distance import kernel_distance
from modeseek.metrics.mmd import mmd
from modeseek.metrics.modes import nearest_mode, share_at_modes, share_of_modes_found
from modeseek.metrics.nll import nll
from modeseek.metrics.pca import PCA
from modeseek.metrics.precision_recall import PrecisionRecall, precision_recall

__all__ = [
    "PCA",
    "Efficiency",
    "ImageText",
    "PrecisionRecall",
    "efficiency",
    "frechet_distance",
    "kernel_distance",
    "mmd",
    "nearest_mode",
    "nll",
    "precision_recall",
    "share_at_modes",
    "share_of_modes_found",
]
