"""Results go to JSON and back, and refuse false company."""

import dataclasses
import json

import pytest

from modeseek.errors import UsageError
from modeseek.metrics import Result, comparable

MADE = Result("frechet", 0.0137, "clip:pocket-clip", "area", "0d7d5007" + "0" * 56, 64, (160, 160), (0.01, 0.02))


def stored(result):
    return Result.from_dict(json.loads(json.dumps(result.to_dict())))


@pytest.mark.parametrize(
    "result",
    [MADE, dataclasses.replace(MADE, metric="similarity", interval=None, spread=0.1, per_picture=(31.5, 28.25))],
)
def test_json_and_back_is_equal(result):
    assert stored(result) == result
    assert hash(stored(result)) == hash(result)  # tuples again


def test_defaults_may_be_absent_and_nothing_else():
    entries = MADE.to_dict()
    del entries["spread"], entries["interval"]
    assert Result.from_dict(entries) == dataclasses.replace(MADE, interval=None)
    del entries["sha256"]
    with pytest.raises(UsageError, match=r"unknown \['features'\], absent \['sha256'\]"):
        Result.from_dict(entries | {"features": "clip"})


@pytest.mark.parametrize(
    "change",
    [
        {"extractor": "inception:2015-12-05"},
        {"filter": "bilinear"},
        {"sha256": "ff" * 32},
        {"dimensions": 63},
    ],
    ids=lambda c: next(iter(c)),
)
def test_what_was_made_otherwise_is_refused_fresh_and_stored(change):
    other = dataclasses.replace(MADE, value=0.05, **change)
    for pair in ((MADE, other), (stored(other), stored(MADE)), (MADE, MADE, stored(other))):
        with pytest.raises(UsageError) as refused:
            comparable(pair)
        assert MADE.label in str(refused.value)
        assert other.label in str(refused.value)


def test_what_was_made_alike_is_let_through():
    comparable([])
    comparable([MADE, stored(MADE), dataclasses.replace(MADE, value=1.0, interval=None)])
    comparable([MADE, dataclasses.replace(MADE, extractor="clip:a-copy")])
    comparable([MADE, dataclasses.replace(MADE, metric="kernel", extractor="dinov2:large", dimensions=9)])


def test_other_counts_are_refused_where_it_is_asked():
    fewer = dataclasses.replace(MADE, counts=(40, 160))
    comparable([MADE, fewer])
    with pytest.raises(UsageError, match=r"160 and 160 pictures.* 40 and 160 pictures"):
        comparable([MADE, fewer], same_counts=True)


def test_the_label_names_all():
    assert MADE.label == (
        "frechet on clip:pocket-clip (filter area, weights 0d7d5007, 64 dimensions, 160 and 160 pictures)"
    )
