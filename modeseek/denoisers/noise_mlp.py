"""A small trainable denoiser for points: what VSD's auxiliary learns with in the plane."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

from modeseek.denoisers.base import Cond
from modeseek.errors import UsageError
from modeseek.noise import Sigma, column


class NoiseMLP(nn.Module):
    """``D(z; sigma) = c_skip z + c_out F(c_in z, ln sigma)`` with the preconditioning of Karras et al. 2022.

    Unlike ``MLPDenoiser`` it is differentiable in its parameters. Before any training F is 0 and D is the denoiser of
    ``N(0, sigma_data^2)``. It takes no condition: whatever is given is not looked at.

    Args:
        dimensions: of a point.
        seed: of the initial weights.
        width: of the hidden layers.
        layers: number of hidden layers.
        sigma_data: standard deviation of the points, roughly.

    Raises:
        UsageError: if a count is below 1 or sigma_data is not positive.
    """

    sigma_min, sigma_max = 0.0, math.inf

    def __init__(
        self, dimensions: int = 2, *, seed: int = 0, width: int = 64, layers: int = 3, sigma_data: float = 0.5
    ) -> None:
        super().__init__()
        if min(dimensions, width, layers) < 1 or not sigma_data > 0:
            raise UsageError(
                "dimensions, width and layers must be at least 1 and sigma_data positive, "
                f"got {dimensions}, {width}, {layers} and {sigma_data}"
            )
        self.sigma_data = sigma_data
        shapes = list(itertools.pairwise([dimensions + 1, *[width] * layers, dimensions]))
        rng = torch.Generator().manual_seed(seed)
        weights = [torch.randn(b, a, generator=rng) * math.sqrt(2 / a) for a, b in shapes]
        weights[-1] = torch.zeros_like(weights[-1])  # so that F is 0 at first
        self.weights = nn.ParameterList(weights)
        self.biases = nn.ParameterList(torch.zeros(b) for _, b in shapes)

    def cost(self, sigma: Sigma) -> int:
        """One evaluation."""
        return 1

    def forward(self, z: Tensor, sigma: Sigma, cond: Cond = None) -> Tensor:
        """Posterior mean of z (B, D); computed in the weights' type, returned in z's."""
        level, data = column(sigma, z), self.sigma_data
        total = level**2 + data**2
        log_level = (0.25 * level.log()).expand(z.shape[0], 1)  # a quarter: of the order of 1, as in EDM
        hidden = torch.cat([z * total.rsqrt(), log_level], 1).to(self.biases[0].dtype)
        *inner, last = zip(self.weights, self.biases)
        for weight, bias in inner:
            hidden = nn.functional.silu(nn.functional.linear(hidden, weight, bias))
        out = nn.functional.linear(hidden, *last).to(z.dtype)
        return (data**2 / total) * z + (level * data * total.rsqrt()) * out
