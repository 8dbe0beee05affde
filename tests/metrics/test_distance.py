"""Named features in, named results out."""

import pytest
import torch

from modeseek.errors import UsageError
from modeseek.metrics import (
    METRICS,
    PCA,
    Bootstrap,
    Features,
    cmmd,
    difference,
    distance,
    frechet_distance,
    kernel_distance,
    precision_recall,
)

HASH = "ab" * 32


def features(n, seed, shift=0.0, extractor="clip:toy"):
    values = torch.randn(n, 12, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Features(values + shift, extractor, "area", HASH)


A, B, C = features(60, 0, 0.5), features(60, 1, 0.2), features(80, 2)

DIRECT = {
    "frechet": frechet_distance,
    "kernel": kernel_distance,
    "cmmd": cmmd,
    "cmmd-unbiased": lambda a, c: cmmd(a, c, unbiased=True),
    "precision": lambda a, c: precision_recall(a, c).precision,
    "recall": lambda a, c: precision_recall(a, c).recall,
    "density": lambda a, c: precision_recall(a, c).density,
    "coverage": lambda a, c: precision_recall(a, c).coverage,
}


@pytest.mark.parametrize("name", METRICS)
def test_the_value_is_the_functions_and_the_rest_is_said(name):
    result = distance(name, A, C)
    assert result.value == DIRECT[name](A.values, C.values)
    assert (result.metric, result.extractor, result.filter, result.sha256) == (name, "clip:toy", "area", HASH)
    assert (result.dimensions, result.counts, result.interval) == (12, (60, 80), None)


def test_every_metric_is_held_against_its_function():
    assert set(DIRECT) == set(METRICS)
    values = [distance(name, A, C).value for name in METRICS]
    assert len(set(values)) == len(values)


def test_the_projection_is_fitted_on_the_reference():
    pca = PCA.fit(C.values, 5)
    result = distance("frechet", A, C, dimensions=5)
    assert result.value == frechet_distance(pca(A.values), pca(C.values))
    assert result.dimensions == 5
    assert distance("frechet", A, C, dimensions=500).dimensions == 12


@pytest.mark.parametrize("name", ["frechet", "kernel", "cmmd", "cmmd-unbiased"])
def test_the_interval_resamples_the_pictures_and_keeps_the_reference(name):
    bootstrap = Bootstrap(30)
    once = name in ("kernel", "cmmd-unbiased")
    expected = bootstrap.interval(lambda i: DIRECT[name](A.values[i], C.values), 60, distinct=once)
    assert distance(name, A, C, bootstrap=bootstrap).interval == expected
    assert expected[0] < expected[1]


def test_a_difference_resamples_pairs():
    bootstrap = Bootstrap(30)
    result = difference("frechet", A, B, C, dimensions=6, bootstrap=bootstrap)
    a, b, c = (PCA.fit(C.values, 6)(s.values) for s in (A, B, C))
    assert result.value == frechet_distance(a, c) - frechet_distance(b, c)
    assert result.interval == bootstrap.interval(lambda i: frechet_distance(a[i], c) - frechet_distance(b[i], c), 60)
    assert result.interval[0] < result.value < result.interval[1]  # the bias of the resampling cancels
    alone = distance("frechet", A, C, dimensions=6, bootstrap=bootstrap)
    assert sum(alone.interval) / 2 > 1.05 * alone.value  # and here it does not
    assert (result.metric, result.counts) == ("frechet difference", (60, 60, 80))
    same = difference("kernel", A, A, C, bootstrap=bootstrap)
    assert (same.value, same.interval) == (0, (0, 0))


def test_other_origins_are_refused():
    other = Features(C.values, "clip:toy", "bilinear", HASH)
    for call in (lambda: distance("frechet", A, other), lambda: difference("frechet", A, B, other)):
        with pytest.raises(UsageError, match=r"one extractor, got .*filter area.*filter bilinear"):
            call()


def test_what_cannot_be_had_is_refused():
    with pytest.raises(UsageError, match=r"metric must be one of frechet, kernel, .*, got 'fid'"):
        distance("fid", A, C)
    with pytest.raises(UsageError, match="pairs, got 60 and 80"):
        difference("frechet", A, C, C)
    with pytest.raises(UsageError, match="recall must go without a bootstrap"):
        distance("recall", A, C, bootstrap=Bootstrap())
    with pytest.raises(UsageError, match="must have whole CLIP features, got a projection on 4 dimensions"):
        distance("cmmd", A, C, dimensions=4)
    with pytest.raises(UsageError, match="must have whole CLIP features, got dinov2:toy"):
        distance("cmmd", *(features(9, s, extractor="dinov2:toy") for s in (0, 1)))
