"""What is behind the object."""

from __future__ import annotations

import pytest
import torch

from modeseek.errors import UsageError
from modeseek.generators.nerf.background import DirectionBackground, PlainBackground
from modeseek.randomness import Streams

LOOKS = torch.nn.functional.normalize(Streams(0).normal((1, 9, 3))[0], dim=-1)


def test_one_colour() -> None:
    assert torch.equal(PlainBackground()(LOOKS), torch.ones(9, 3))
    assert not list(PlainBackground().parameters())
    learned = PlainBackground((0.2, 0.5, 0.9), learned=True)
    torch.testing.assert_close(learned(LOOKS), torch.tensor([[0.2, 0.5, 0.9]]).expand(9, 3))
    (slope,) = torch.autograd.grad(learned(LOOKS).sum(), list(learned.parameters()))
    torch.testing.assert_close(slope, 9 * torch.tensor([0.16, 0.25, 0.09]))  # c (1 - c) a row


def test_a_network_on_the_direction() -> None:
    behind = DirectionBackground(Streams(1)).double()
    looks = LOOKS.double()
    seen = torch.cat([looks, looks.sin(), looks.cos(), (2 * looks).sin(), (2 * looks).cos()], -1)
    torch.testing.assert_close(behind(looks), behind.network(seen).sigmoid(), rtol=0, atol=1e-14)
    assert float(behind(looks).detach().std(0).min()) > 1e-3  # it sees where it looks
    assert [tuple(w.shape) for w in behind.network.weights] == [(16, 15), (16, 16), (3, 16)]
    assert DirectionBackground(Streams(1), octaves=0)(LOOKS[:0]).shape == (0, 3)


def test_wrong_arguments() -> None:
    for colour in ((1.0, 1.0), (0.0, 0.5, 1.5)):
        with pytest.raises(UsageError, match="three numbers between 0 and 1"):
            PlainBackground(colour)
    with pytest.raises(UsageError, match="must start inside of 0 and 1"):
        PlainBackground(learned=True)
    with pytest.raises(UsageError, match="layers must be positive"):
        DirectionBackground(Streams(0), layers=0)
