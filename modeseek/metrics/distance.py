"""Distances between named features: a table of metrics, and the two questions that it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from torch import Tensor

from modeseek.errors import UsageError
from modeseek.metrics.bootstrap import Bootstrap
from modeseek.metrics.cmmd import cmmd
from modeseek.metrics.features import Features, check_origin
from modeseek.metrics.frechet import frechet_distance
from modeseek.metrics.kernel_distance import kernel_distance
from modeseek.metrics.pca import PCA
from modeseek.metrics.precision_recall import precision_recall
from modeseek.metrics.results import Result


@dataclass(frozen=True)
class Metric:
    """A row of METRICS.

    Attributes:
        function: features (N, D) and those of the reference (M, D) -> number.
        resampled: rows that a bootstrap takes: all that were drawn, each once, or no bootstrap since the value depends
            on how many there are.
        clip: defined on whole CLIP features alone.
    """

    function: Callable[[Tensor, Tensor], float]
    resampled: Literal["all", "once", "never"]
    clip: bool = False


def _share(name: str, fake: Tensor, real: Tensor) -> float:
    return float(getattr(precision_recall(fake, real), name))


METRICS: dict[str, Metric] = {
    "frechet": Metric(frechet_distance, "all"),
    "kernel": Metric(kernel_distance, "once"),
    "cmmd": Metric(cmmd, "all", clip=True),
    "cmmd-unbiased": Metric(partial(cmmd, unbiased=True), "once", clip=True),
    **{name: Metric(partial(_share, name), "never") for name in ("precision", "recall", "density", "coverage")},
}


def distance(
    metric: str,
    features: Features,
    reference: Features,
    dimensions: int | None = None,
    bootstrap: Bootstrap | None = None,
) -> Result:
    """How far a set of pictures is from a reference.

    Args:
        metric: a key of METRICS.
        features: of the pictures.
        reference: of the set that they are held against, by the same extractor.
        dimensions: project both on so many principal components of the reference first.
        bootstrap: adds an interval; the pictures are resampled, the reference is kept.

    Raises:
        UsageError: if the features differ in origin, the metric is unknown or cannot be had so.
    """
    row = _row(metric, dimensions, bootstrap, features, reference)
    a, c = _projected(dimensions, features, reference)
    once = row.resampled == "once"
    ends = None if bootstrap is None else bootstrap.interval(lambda i: row.function(a[i], c), len(a), once)
    return _result(metric, row.function(a, c), ends, a.shape[1], features, reference)


def difference(
    metric: str,
    first: Features,
    second: Features,
    reference: Features,
    dimensions: int | None = None,
    bootstrap: Bootstrap | None = None,
) -> Result:
    """How much farther ``first`` is from the reference than ``second``: the i-th pictures of both are a pair.

    Pairs share prompt and seed and are resampled together, so that the bias of a bootstrap, which draws some pictures
    twice, is the same on both sides.

    Args:
        metric: a key of METRICS.
        first: features of one method's pictures.
        second: features of the other's, as many, in the same order.
        reference: of the set that both are held against.
        dimensions: as in ``distance``.
        bootstrap: adds an interval.

    Raises:
        UsageError: as ``distance``; if the pictures cannot be pairs.
    """
    if first.count != second.count:
        raise UsageError(f"pictures must be in pairs, got {first.count} and {second.count}")
    row = _row(metric, dimensions, bootstrap, first, second, reference)
    a, b, c = _projected(dimensions, first, second, reference)

    def apart(i: Tensor) -> float:
        return row.function(a[i], c) - row.function(b[i], c)

    ends = None if bootstrap is None else bootstrap.interval(apart, len(a), row.resampled == "once")
    value = row.function(a, c) - row.function(b, c)
    return _result(f"{metric} difference", value, ends, a.shape[1], first, second, reference)


def _row(metric: str, dimensions: int | None, bootstrap: Bootstrap | None, *sets: Features) -> Metric:
    check_origin(*sets)
    if metric not in METRICS:
        raise UsageError(f"metric must be one of {', '.join(METRICS)}, got {metric!r}")
    row = METRICS[metric]
    if row.clip and (sets[0].origin[0] != "clip" or dimensions is not None):
        what = sets[0].label if dimensions is None else f"a projection on {dimensions} dimensions"
        raise UsageError(f"{metric} must have whole CLIP features, got {what}")
    if row.resampled == "never" and bootstrap is not None:
        raise UsageError(f"{metric} must go without a bootstrap: resampling changes what it depends on, the count")
    return row


def _projected(dimensions: int | None, *sets: Features) -> list[Tensor]:
    """Values on the principal components of the last set."""
    if dimensions is None:
        return [s.values for s in sets]
    pca = PCA.fit(sets[-1].values, dimensions)
    return [pca(s.values) for s in sets]


def _result(metric: str, value: float, ends: tuple[float, float] | None, dimensions: int, *sets: Features) -> Result:
    made = sets[0]
    counts = tuple(s.count for s in sets)
    return Result(metric, value, made.extractor, made.filter, made.sha256, dimensions, counts, ends)
