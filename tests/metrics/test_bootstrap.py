"""Intervals: their width, what they cover, pairs and distinct rows."""

import pytest
import torch
from scipy import stats

from modeseek.errors import UsageError
from modeseek.metrics import Bootstrap, kernel_distance


def normal(n, seed):
    return torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mean_of(x):
    return lambda i: float(x[i].mean())


@pytest.mark.parametrize("distinct", [False, True])
@pytest.mark.parametrize("level", [0.95, 0.5])
def test_of_a_mean_it_is_the_normal_interval(distinct, level):
    """BOOT-1: mean +- z s / sqrt(n), with repeats or with distinct rows scaled back; 4000 draws, 300 pictures."""
    x = normal(300, 0)
    low, high = Bootstrap(4000, level).interval(mean_of(x), 300, distinct)
    half = stats.norm.ppf((1 + level) / 2) * float(x.std()) / 300**0.5
    assert (high - low) / 2 == pytest.approx(half, rel=0.06)
    assert (high + low) / 2 == pytest.approx(float(x.mean()), abs=0.06 * half)


def test_it_covers_as_often_as_it_says():
    """BOOT-1: 90 % intervals of 300 samples of 60; within five standard errors of 90 % and a per cent of smallness."""
    inside = 0
    for seed in range(300):
        low, high = Bootstrap(200, 0.9, seed).interval(mean_of(normal(60, seed)), 60)
        inside += low <= 0 <= high
    assert abs(inside / 300 - 0.9) < 5 * (0.9 * 0.1 / 300) ** 0.5 + 0.01


def test_distinct_rows_of_a_kernel_distance_spread_as_new_samples_do():
    """BOOT-1 with KD-1: the mean width over samples against the spread of the distance over samples; 10 %."""
    reference = normal(4 * 400, 999).reshape(400, 4)

    def kernel_of(x):
        return lambda i: kernel_distance(x[i], reference)

    samples = [normal(4 * 60, s).reshape(60, 4) + 0.7 for s in range(150)]
    values = torch.tensor([kernel_distance(x, reference) for x in samples])
    ends = [Bootstrap(60, 0.6827, s).interval(kernel_of(x), 60, distinct=True) for s, x in enumerate(samples[:50])]
    assert sum(h - low for low, h in ends) / 50 / 2 == pytest.approx(float(values.std()), rel=0.15)


def test_pairs_are_resampled_together():
    """BOOT-1: two methods that differ by a constant differ by it in every draw, however much the pictures vary."""
    x = normal(50, 3)
    low, high = Bootstrap().interval(lambda i: float((x[i] + 0.25).mean() - x[i].mean()), 50)
    assert low == pytest.approx(0.25, abs=1e-12)
    assert high == pytest.approx(0.25, abs=1e-12)


def test_distinct_rows_are_distinct_and_all_are_drawn_from():
    """BOOT-1: on average a share 1 - (1 - 1/n)^n of the pictures."""
    parts = []
    Bootstrap(100).interval(lambda i: parts.append(i) or 0.0, 40, distinct=True)
    assert torch.equal(parts[0], torch.arange(40))  # the full value, about which the others are scaled
    assert all(len(p.unique()) == len(p) < 40 for p in parts[1:])
    share = sum(len(p) for p in parts[1:]) / 100 / 40
    assert share == pytest.approx(1 - (1 - 1 / 40) ** 40, abs=0.03)
    assert len(torch.cat(parts[1:]).unique()) == 40


def test_the_draws_are_the_same_at_every_call_and_the_global_generator_is_left_alone():
    """BOOT-1."""
    before = torch.get_rng_state()
    first, second = Bootstrap(5).draws(30), Bootstrap(5).draws(30)
    assert all(torch.equal(a, b) for a, b in zip(first, second))
    assert not torch.equal(Bootstrap(5, seed=1).draws(30)[0], first[0])
    assert torch.equal(torch.get_rng_state(), before)


def test_refuses():
    """BOOT-1."""
    for wrong in ({"resamples": 1}, {"level": 0.0}, {"level": 1.0}, {"level": float("nan")}):
        with pytest.raises(UsageError, match="a bootstrap must have"):
            Bootstrap(**wrong)
    with pytest.raises(UsageError, match="two pictures or more, got 1"):
        Bootstrap().interval(lambda i: 0.0, 1)
    with pytest.raises(UsageError, match="over pairs needs three pictures or more, got 2"):
        Bootstrap().interval(lambda i: 0.0, 2, distinct=True)
