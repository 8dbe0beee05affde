"""The small networks of a field, and how their raw numbers become densities."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from modeseek.errors import UsageError
from modeseek.generators.nerf.encoding import one_stream
from modeseek.randomness import Streams

Activation = Literal["softplus", "exp"]
STEEPEST = 15.0  # threestudio's: beyond, exp's gradient would throw the weights away


class MLP(nn.Module):
    """Linear layers with ReLU between them, He's initial weights, biases 0.

    Args:
        streams: one, for the initial weights.
        sizes: of the input, the hidden layers and the output.

    Raises:
        UsageError: if there are fewer than two sizes, one is below 1, or there is not one stream.
    """

    def __init__(self, streams: Streams, sizes: Sequence[int]) -> None:
        super().__init__()
        if len(sizes) < 2 or min(sizes) < 1:
            raise UsageError(f"sizes must be at least two positive numbers, got {tuple(sizes)}")
        pairs, one = list(itertools.pairwise(sizes)), one_stream(streams)
        gains = [*[2.0] * (len(pairs) - 1), 1.0]  # ReLU halves what passes
        self.weights = nn.ParameterList(
            nn.Parameter(math.sqrt(gain / m) * one.normal((1, n, m))[0]) for gain, (m, n) in zip(gains, pairs)
        )
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(n)) for _, n in pairs)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (N, sizes[-1]) of inputs (N, sizes[0])."""
        last = len(self.weights) - 1
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases)):
            x = nn.functional.linear(x, weight, bias)
            x = x.relu_() if i < last else x  # in place: what linear gave is not needed for its gradient
        return x


class _Exp(torch.autograd.Function):
    """exp whose gradient grows no further above STEEPEST."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.exp()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return gradient * x.clamp(max=STEEPEST).exp()


ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {"softplus": nn.functional.softplus, "exp": _Exp.apply}
