"""Metrics: samples, reference -> number."""

from modeseek.metrics.bootstrap import Bootstrap
from modeseek.metrics.clip import ImageText
from modeseek.metrics.cmmd import cmmd
from modeseek.metrics.distance import METRICS, Metric, difference, distance
from modeseek.metrics.efficiency import Efficiency, efficiency
from modeseek.metrics.extractor import Extractor
from modeseek.metrics.extractors import open_features
from modeseek.metrics.features import Features
from modeseek.metrics.frechet import frechet_distance
from modeseek.metrics.kernel_distance import kernel_distance
from modeseek.metrics.mmd import mmd
from modeseek.metrics.modes import nearest_mode, share_at_modes, share_of_modes_found
from modeseek.metrics.nll import nll
from modeseek.metrics.pca import PCA
from modeseek.metrics.precision_recall import PrecisionRecall, precision_recall
from modeseek.metrics.results import Result, comparable
from modeseek.metrics.similarity import similarity

__all__ = [
    "METRICS",
    "PCA",
    "Bootstrap",
    "Efficiency",
    "Extractor",
    "Features",
    "ImageText",
    "Metric",
    "PrecisionRecall",
    "Result",
    "cmmd",
    "comparable",
    "difference",
    "distance",
    "efficiency",
    "frechet_distance",
    "kernel_distance",
    "mmd",
    "nearest_mode",
    "nll",
    "open_features",
    "precision_recall",
    "share_at_modes",
    "share_of_modes_found",
    "similarity",
]
