"""The coordinate network."""

from __future__ import annotations

import math

import pytest
import torch

from modeseek.errors import UsageError
from modeseek.generators import ImageMLP
from modeseek.randomness import Streams

SMALL = {"features": 8, "width": 6, "layers": 3}


def build(seed: int = 0, samples: tuple[int, ...] = (0, 1, 2), size: int = 8, **options: float) -> ImageMLP:
    return ImageMLP(Streams(seed, samples), size, **{**SMALL, **options})


def test_a_batch_of_one_is_a_row_of_a_batch() -> None:
    together, alone = build()(), build(samples=(1,))()
    torch.testing.assert_close(together[1:2], alone, rtol=0, atol=1e-6)
    for of_all, of_one in zip(build().parameters(), build(samples=(1,)).parameters()):
        assert torch.equal(of_all[1:2], of_one)
    assert float((together[0] - together[1]).abs().max().detach()) > 1e-3


def test_gradients_stay_in_their_row() -> None:
    generator = build()
    (generator()[1].square().sum()).backward()
    alone = build(samples=(1,))
    alone()[0].square().sum().backward()
    for of_all, of_one in zip(generator.parameters(), alone.parameters()):
        torch.testing.assert_close(of_all.grad[1:2], of_one.grad, rtol=1e-5, atol=1e-6)
        assert float(of_all.grad[0].abs().max()) == 0


def test_the_network_is_what_it_says() -> None:
    # every pixel by hand: features, relu layers, sigmoid
    generator, size = build(samples=(4,), size=5), 5
    rows = []
    for i in range(size):
        for j in range(size):
            point = torch.tensor([(j + 0.5) / size, (i + 0.5) / size])  # u to the right, v down
            phase = 2 * math.pi * (point @ generator.frequencies[0])
            h = torch.cat([phase.sin(), phase.cos()])
            for weight, bias in zip(generator.weights[:-1], generator.biases[:-1]):
                h = (h @ weight[0] + bias[0, 0]).relu()
            rows.append((h @ generator.weights[-1][0] + generator.biases[-1][0, 0]).sigmoid())
    expected = torch.stack(rows).T.reshape(1, 3, size, size)
    torch.testing.assert_close(generator(), expected, rtol=0, atol=1e-5)


def test_any_resolution_shows_the_same_picture() -> None:
    generator = build(size=8)
    torch.testing.assert_close(generator.at(8), generator(), rtol=0, atol=0)
    # pixel centres of 8 are those of every third pixel of 24, from the second
    torch.testing.assert_close(generator.at(24)[:, :, 1::3, 1::3], generator(), rtol=0, atol=2e-5)
    assert generator.at(5).shape == (3, 3, 5, 5)


def test_seeds() -> None:
    assert torch.equal(build(seed=1)(), build(seed=1)())
    assert float((build(seed=1)() - build(seed=2)()).abs().max().detach()) > 1e-3


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    build()
    assert torch.equal(torch.get_rng_state(), before)


def test_the_first_picture_is_nearly_grey() -> None:
    image = ImageMLP(Streams.for_batch(0, 4), 16)().detach()
    assert float((image.mean((1, 2, 3)) - 0.5).abs().max()) < 0.05
    assert 0.001 < float(image.std()) < 0.1


def test_the_bandwidth_is_that_of_the_frequencies() -> None:
    frequencies = build(features=2000, bandwidth=3.0).frequencies
    standard_error = 3.0 / math.sqrt(2 * frequencies.numel())
    assert abs(float(frequencies.std()) - 3.0) < 5 * standard_error


def test_the_state_holds_all_but_the_grid() -> None:
    generator = build(seed=0)
    other = build(seed=9)
    other.load_state_dict(generator.state_dict())
    assert torch.equal(other(), generator())
    assert "coordinates" not in generator.state_dict()


@pytest.mark.parametrize("wrong", [{"size": 0}, {"features": 0}, {"width": 0}, {"layers": 0}])
def test_nothing_below_one(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="must be positive"):
        build(**wrong)


def test_what_is_kept_follows_the_frequencies():
    """The waves are computed once, and anew where a checkpoint or a cast has changed what they are made of."""
    one, other = ImageMLP(Streams(0), 8), ImageMLP(Streams(1), 8)
    before = one()
    one.load_state_dict(other.state_dict())
    torch.testing.assert_close(one(), other(), rtol=0, atol=0)
    assert float((one() - before).detach().abs().max()) > 0
    exact = one.double()()
    assert exact.dtype == torch.float64
    torch.testing.assert_close(exact.float(), other(), rtol=0, atol=1e-4)
    with torch.inference_mode():
        one()
    one().sum().backward()
    assert all(p.grad is not None for p in one.parameters())
