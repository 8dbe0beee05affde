"""Features carry their origin and refuse another."""

import pytest
import torch

from modeseek.errors import UsageError
from modeseek.metrics import Features
from modeseek.metrics.features import check_origin

ROWS = torch.arange(6.0).reshape(3, 2)


def made(extractor="clip:one", filter="area", sha256="a" * 64):
    return Features(ROWS, extractor, filter, sha256)


def test_values_are_float64_and_left_of_the_graph():
    features = Features(ROWS.clone().requires_grad_(), "clip:one", "area", "a" * 64)
    assert features.values.dtype == torch.float64
    assert not features.values.requires_grad
    assert features.count == 3


def test_rows_that_are_none_are_refused():
    with pytest.raises(UsageError, match=r"features must be \(N, D\)"):
        Features(ROWS[0], "clip:one", "area", "a" * 64)
    with pytest.raises(UsageError, match="NaN or infinity in 1 of 3 rows"):
        Features(1 / ROWS, "clip:one", "area", "a" * 64)


@pytest.mark.parametrize(
    "other",
    [{"extractor": "dinov2:one"}, {"filter": "bilinear"}, {"sha256": "b" * 64}],
    ids=["kind", "filter", "weights"],
)
def test_other_origins_are_refused_with_both_names(other):
    with pytest.raises(UsageError) as refused:
        check_origin(made(), made(), made(**other))
    for label in (made().label, made(**other).label):
        assert label in str(refused.value)


def test_a_copy_under_another_name_is_the_same():
    check_origin(made(), made(extractor="clip:copy-of-one"))


def test_the_label_names_all():
    assert made().label == "clip:one (filter area, weights aaaaaaaa)"
