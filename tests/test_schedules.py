import itertools
import math
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeseek.errors import UsageError
from modeseek.schedules import Anneal, AnnealShape, Bandwidth, Shape, Uniform, chosen

SHAPES = get_args(Shape)


@pytest.mark.parametrize("shape", SHAPES)
@given(end=st.floats(1e-3, 1), ratio=st.floats(1, 1e5), steps=st.integers(1, 300))
def test_falls_from_start_to_end_and_stays(shape, end, ratio, steps):
    bandwidth = Bandwidth(end * ratio, end, steps, shape)
    values = [bandwidth(k) for k in range(-1, steps + 3)]
    assert all(b <= a * (1 + 1e-12) for a, b in itertools.pairwise(values))
    assert values[-4:] == [end] * 4
    if steps > 1:
        assert bandwidth(0) == pytest.approx(end * ratio)
        assert bandwidth(-1) == bandwidth(0)


def test_shapes():
    n = 11
    linear, geometric, cosine = (
        [Bandwidth(100.0, 1.0, n, s)(k) for k in range(n)] for s in ("linear", "geometric", "cosine")
    )
    assert linear == pytest.approx([100 - 9.9 * k for k in range(n)])
    assert geometric == pytest.approx([10 ** (2 - 0.2 * k) for k in range(n)])
    assert cosine == pytest.approx([1 + 99 * 0.5 * (1 + math.cos(math.pi * k / 10)) for k in range(n)])


def test_the_papers_image_schedule():
    """lambda from 1e3 to 1e-2 is bandwidth 707 to 0.00707, over 400 steps; halfway lambda is its geometric mean."""
    bandwidth = Bandwidth(1e3 / math.sqrt(2), 1e-2 / math.sqrt(2), 401)
    assert math.sqrt(2) * bandwidth(200) == pytest.approx(math.sqrt(10))


def test_converged_when_the_end_is_reached():
    bandwidth = Bandwidth(1.0, 0.1, 5)
    assert [bandwidth.converged(k) for k in range(7)] == [False] * 4 + [True] * 3


@pytest.mark.parametrize(
    ("start", "end", "steps", "shape", "says"),
    [
        (1.0, 0.0, 5, "linear", "0 < end <= start"),
        (0.1, 1.0, 5, "linear", "0 < end <= start"),
        (math.inf, 1.0, 5, "linear", "0 < end <= start"),
        (math.nan, 1.0, 5, "linear", "0 < end <= start"),
        (1.0, 0.1, 0, "linear", "steps must be at least 1"),
        (1.0, 0.1, 5, "square", "linear, geometric or cosine"),
    ],
)
def test_refuses(start, end, steps, shape, says):
    with pytest.raises(UsageError, match=says):
        Bandwidth(start, end, steps, shape)


@pytest.mark.parametrize("shape", get_args(AnnealShape))
@given(ends=st.lists(st.floats(0, 1), min_size=2, max_size=2).map(sorted), steps=st.integers(1, 300))
def test_a_time_falls_from_start_to_end_and_stays(shape, ends, steps):
    """TIME-1."""
    end, start = ends
    time = Anneal(start, end, steps, shape)
    values = [time(k) for k in range(-1, steps + 3)]
    assert all(b <= a + 1e-12 for a, b in itertools.pairwise(values))
    assert values[-4:] == [end] * 4
    assert all(0 <= v <= 1 for v in values)
    if steps > 1:
        assert time(0) == time(-1) == pytest.approx(start)


def test_shapes_of_a_time():
    """TIME-1: SDI's own range, linear; HiFA's square root has done half the way after a quarter of the steps."""
    linear, sqrt = (Anneal(0.98, 0.25, 5, shape) for shape in ("linear", "sqrt"))
    assert [linear(k) for k in range(5)] == pytest.approx([0.98, 0.7975, 0.615, 0.4325, 0.25])
    halves = [0.98 - 0.73 * math.sqrt(k / 4) for k in range(5)]
    assert [sqrt(k) for k in range(5)] == pytest.approx(halves)
    assert sqrt(1) == pytest.approx(0.615)
    assert [linear.converged(k) for k in range(6)] == [False] * 4 + [True] * 2


@pytest.mark.parametrize(
    ("start", "end", "steps", "shape", "says"),
    [
        (0.5, 0.6, 5, "linear", "0 <= end <= start <= 1"),
        (1.1, 0.6, 5, "linear", "0 <= end <= start <= 1"),
        (0.5, -0.1, 5, "linear", "0 <= end <= start <= 1"),
        (math.nan, 0.1, 5, "linear", "0 <= end <= start <= 1"),
        (0.5, 0.1, 0, "linear", "steps must be at least 1"),
        (0.5, 0.1, 5, "cosine", "linear or sqrt"),
    ],
)
def test_refuses_a_time(start, end, steps, shape, says):
    with pytest.raises(UsageError, match=says):
        Anneal(start, end, steps, shape)


@pytest.mark.parametrize("shape", get_args(AnnealShape))
def test_an_annealed_time_is_a_range_of_one(shape):
    """TIME-1."""
    time = Anneal(0.98, 0.25, 5, shape)
    assert [time.range(k) for k in range(6)] == [(time(k), time(k)) for k in range(6)]


def test_a_uniform_time_and_its_drop():
    """TIME-2: ProlificDreamer's 0.02 to 0.98, to 0.5 from a step on; it never comes to an end."""
    steady, dropping = Uniform(), Uniform(drop=(5000, 0.5))
    assert [steady.range(k) for k in (0, 4999, 5000)] == [(0.02, 0.98)] * 3
    assert [dropping.range(k) for k in (0, 4999, 5000, 25000)] == [(0.02, 0.98)] * 2 + [(0.02, 0.5)] * 2
    assert Uniform(drop=(0, 0.02)).range(0) == (0.02, 0.02)
    assert not any(time.converged(10**6) for time in (steady, dropping))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"low": 0.9, "high": 0.1}, r"a time range must satisfy 0 <= low <= high <= 1, got \(0.9, 0.1\)"),
        ({"low": -0.1}, "a time range must satisfy"),
        ({"high": 1.1}, "a time range must satisfy"),
        ({"high": math.nan}, "a time range must satisfy"),
        ({"drop": (-1, 0.5)}, r"the time's drop must be a step and a time from 0.02 to 0.98, got \(-1, 0.5\)"),
        ({"drop": (5, 0.99)}, "the time's drop must be a step and a time from 0.02 to 0.98"),
        ({"drop": (5, 0.01)}, "the time's drop must be"),
        ({"drop": (5, math.nan)}, "the time's drop must be"),
    ],
)
def test_refuses_a_uniform_time(options, says):
    with pytest.raises(UsageError, match=says):
        Uniform(**options)


def test_one_word_for_every_time():
    """TIME-2: a policy, a number, a range in short, or nothing."""
    falling = Anneal(0.98, 0.25, 5)
    assert chosen(falling, None) is falling
    assert chosen(0.5, None) == chosen(None, (0.5, 0.5)) == Uniform(0.5, 0.5)
    assert chosen(1, None) == Uniform(1, 1)
    assert chosen(None, None) == Uniform(0.02, 0.98)
    with pytest.raises(UsageError, match=r"either time or time_range must be given, got 0.5 and \(0.1, 0.9\)"):
        chosen(0.5, (0.1, 0.9))
