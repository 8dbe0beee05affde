"""Metrics: samples, reference -> number."""

from modeseek.metrics.clip import ImageText
from modeseek.metrics.frechet import frechet_distance
from modeseek.metrics.kernel_distance import kernel_distance
from modeseek.metrics.pca import PCA

__all__ = ["PCA", "ImageText", "frechet_distance", "kernel_distance"]
