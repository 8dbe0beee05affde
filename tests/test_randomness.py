import pytest
import torch
from scipy import stats

from modeseek.errors import UsageError
from modeseek.randomness import Streams, normal, repeat, uniform


def test_a_sample_is_the_same_in_any_batch():
    batch = Streams(3, range(8)).normal((8, 5, 2))
    alone = Streams(3, [5]).normal((1, 5, 2))
    torch.testing.assert_close(batch[5:6], alone, rtol=0, atol=0)
    other_order = Streams(3, [5, 0]).normal((2, 5, 2))
    torch.testing.assert_close(other_order, batch[[5, 0]], rtol=0, atol=0)


def test_the_second_draw_is_the_same_in_any_batch():
    batch, alone = Streams(3, range(4)), Streams(3, [2])
    for streams in (batch, alone):
        streams.uniform((len(streams),))
    torch.testing.assert_close(batch.normal((4, 3))[2:3], alone.normal((1, 3)), rtol=0, atol=0)


def test_seeds_samples_and_steps_differ():
    first = Streams(0, [0]).normal((1, 4))
    others = [Streams(1, [0]), Streams(0, [1]), Streams(0, [0], step=1), Streams(0, [(0, 0)]), Streams(0, [0]).at(7)]
    assert all(float((first - s.normal((1, 4))).abs().min()) > 0 for s in others)
    torch.testing.assert_close(Streams(0, [0], step=7).normal((1, 4)), Streams(0, [0]).at(7).normal((1, 4)))


def test_at_starts_the_stream_again():
    streams = Streams.for_batch(0, 2).at(4)
    used = streams.normal((2, 3))
    torch.testing.assert_close(streams.at(4).normal((2, 3)), used, rtol=0, atol=0)


def test_rows_of_several_runs_travel_in_one_batch():
    mixed = Streams([3, 8, 3], [0, 0, 1]).at(5)
    rows = [Streams(3, [0], 5), Streams(8, [0], 5), Streams(3, [1], 5)]
    torch.testing.assert_close(mixed.normal((3, 4)), torch.cat([r.normal((1, 4)) for r in rows]), rtol=0, atol=0)
    torch.testing.assert_close(mixed.repeat(2).normal((6, 4))[2:4], rows[1].repeat(2).normal((2, 4)), rtol=0, atol=0)
    with pytest.raises(UsageError, match="one seed or one for each sample, got 2 for 3"):
        Streams([3, 8], range(3))


def test_neighbouring_streams_are_independent():
    """One number from each of 10 000 streams, and of 10 000 steps of one stream, is a normal sample."""
    over_samples = Streams(0, range(10_000)).normal((10_000, 2))
    over_steps = torch.cat([Streams(0, [0], step=k).normal((1, 2)) for k in range(10_000)])
    for drawn in (over_samples, over_steps):
        assert stats.kstest(drawn[:, 0].numpy(), "norm").pvalue > 1e-4
        correlations = [torch.corrcoef(torch.stack([drawn[:-1, 0], drawn[1:, 0]]))[0, 1], torch.corrcoef(drawn.T)[0, 1]]
        assert all(abs(float(c)) < 5 / 100 for c in correlations)


def test_repeat_lays_samples_as_repeat_interleave_does():
    streams = Streams(9, [4, (7, 1)], step=2)
    many = streams.repeat(3)
    assert many.samples == ((4, 0), (4, 1), (4, 2), (7, 1, 0), (7, 1, 1), (7, 1, 2))
    drawn = many.normal((6, 2))
    torch.testing.assert_close(Streams(9, [(7, 1)], step=2).repeat(3).normal((3, 2)), drawn[3:], rtol=0, atol=0)
    assert len(torch.unique(drawn)) == 12


def test_a_wrong_batch_is_refused():
    with pytest.raises(ValueError, match=r"one row per stream \(2\), got 3"):
        Streams.for_batch(0, 2).normal((3, 4))


def test_numbers_do_not_depend_on_precision():
    half, single, double = (
        normal(Streams.for_batch(0, 2), torch.empty(2, 3, dtype=d))
        for d in (torch.float16, torch.float32, torch.float64)
    )
    assert (half.dtype, single.dtype, double.dtype) == (torch.float16, torch.float32, torch.float64)
    torch.testing.assert_close(double.float(), single, rtol=0, atol=0)
    torch.testing.assert_close(half, single.half(), rtol=0, atol=0)


def test_a_bare_generator_serves_too():
    like = torch.empty(3, 2)
    first = normal(torch.Generator().manual_seed(1), like)
    torch.testing.assert_close(first, torch.randn(3, 2, generator=torch.Generator().manual_seed(1)))
    generator = torch.Generator()
    assert repeat(generator, 4) is generator
    assert uniform(generator, 5).shape == (5,)


def test_uniform_numbers():
    u = uniform(Streams.for_batch(0, 10_000), 10_000)
    assert u.shape == (10_000,)
    assert float(u.min()) >= 0
    assert float(u.max()) < 1
    assert stats.kstest(u.numpy(), "uniform").pvalue > 1e-4


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    streams = Streams.for_batch(0, 2)
    streams.normal((2, 2)), streams.repeat(2).uniform((4,))
    assert torch.equal(before, torch.get_rng_state())
