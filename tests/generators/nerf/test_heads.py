"""The small networks and the activations of densities."""

from __future__ import annotations

import math

import pytest
import torch

from modeseek.errors import UsageError
from modeseek.generators.nerf.heads import ACTIVATIONS, MLP
from modeseek.randomness import Streams


def test_the_network_is_what_it_says() -> None:
    network = MLP(Streams(0), (3, 5, 4, 2)).double()
    x = torch.linspace(-1, 1, 18, dtype=torch.float64).view(6, 3)
    for bias in network.biases:
        bias.data += 0.3
    (a, b, c), (d, e, f) = network.weights, network.biases
    expected = ((x @ a.t() + d).clamp(min=0) @ b.t() + e).clamp(min=0) @ c.t() + f
    torch.testing.assert_close(network(x), expected, rtol=0, atol=1e-14)
    assert torch.autograd.gradcheck(network, x.requires_grad_())


def test_weights_have_hes_scale_and_come_from_the_seed() -> None:
    state = torch.get_rng_state()
    network, again = MLP(Streams(3), (100, 200, 50)), MLP(Streams(3), (100, 200, 50))
    assert torch.equal(torch.get_rng_state(), state)
    for weight, same, scale in zip(network.weights, again.weights, (math.sqrt(2 / 100), math.sqrt(1 / 200))):
        assert torch.equal(weight, same)
        error = scale / math.sqrt(2 * weight.numel())  # of a standard deviation
        assert abs(float(weight.detach().std()) - scale) < 5 * error


def test_activations() -> None:
    x = torch.tensor([-3.0, 0.0, 2.0, 14.0, 40.0], dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(ACTIVATIONS["softplus"](x)[:3], (1 + x[:3].exp()).log())
    out = ACTIVATIONS["exp"](x)
    torch.testing.assert_close(out, x.exp())
    (slope,) = torch.autograd.grad(out.sum(), x)
    torch.testing.assert_close(slope, x.detach().clamp(max=15).exp())


@pytest.mark.parametrize("sizes", [(3,), (3, 0, 1), ()])
def test_wrong_sizes(sizes: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="at least two positive numbers"):
        MLP(Streams(0), sizes)
