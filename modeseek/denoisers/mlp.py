"""A small network that learns a log density in the plane; its score is the gradient (Karras et al. 2024, toy model)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from modeseek.denoisers.base import Cond
from modeseek.errors import UsageError
from modeseek.noise import Sigma, column

SIGMA_DATA = 0.5  # standard deviation the preconditioning expects (Karras et al. 2022, table 1)
SILU_GAIN = 1 / 0.596  # keeps the magnitude of silu(a) for a ~ N(0, 1) (Karras et al. 2024, EDM2, eq. 81)


class SiLUWithSlope(torch.autograd.Function):
    """``a -> silu(a), silu'(a)``: with both in one node, training through an input gradient costs a third less."""

    @staticmethod
    def forward(ctx: Any, a: Tensor) -> tuple[Tensor, Tensor]:
        """Value and slope, shape of a."""
        s = torch.sigmoid(a)
        h = a * s
        slope = torch.addcmul(s + h, h, s, value=-1)
        ctx.save_for_backward(s, h, slope)
        return h, slope

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """``silu'' = (1 - s)(s + silu' - s silu)``."""
        s, h, slope = ctx.saved_tensors
        curve = torch.addcmul(s + slope, h, s, value=-1).mul_(1 - s)
        total: Tensor = (gradients[0] * slope).addcmul_(gradients[1], curve)
        return total


class LogDensityMLP(nn.Module):
    """``F(u, c)``, a number for each row, with its gradient in u written out. Layers keep magnitudes.

    Args:
        width: units of a hidden layer.
        layers: hidden layers.
        dim: D of the events.
        rng: draws the weights.
    """

    def __init__(self, width: int, layers: int, dim: int = 2, *, rng: torch.Generator) -> None:
        super().__init__()
        widths = [dim + 2] + [width] * layers
        drawn = [torch.randn(n, m, generator=rng) for m, n in pairwise(widths)]
        self.hidden = nn.ParameterList([nn.Parameter(w) for w in drawn])
        self.out = nn.Parameter(torch.randn(1, width, generator=rng))
        self.gain = nn.Parameter(torch.tensor(0.1))
        self.dim = dim
        self.normalise()

    @torch.no_grad()
    def normalise(self) -> None:
        """Rows of unit length, where training steps have left them: only their direction counts."""
        for w in (*self.hidden, self.out):
            w.copy_(_unit(w))

    def forward(self, u: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """F, (B,), and its gradient in u, (B, D), for u (B, D) and c (B,). Differentiable, also without autograd."""
        h = torch.cat([u, c[:, None], torch.ones_like(c)[:, None]], 1)
        weights = [_unit(w) * (SILU_GAIN if i else 1.0) for i, w in enumerate(self.hidden)]
        last = _unit(self.out) * (SILU_GAIN * self.gain)
        slopes = []
        for w in weights:
            h, slope = SiLUWithSlope.apply(h @ w.T)  # type: ignore[no-untyped-call]
            slopes.append(slope)
        gradient = last
        for w, slope in zip(reversed(weights), reversed(slopes)):
            gradient = (gradient * slope) @ w
        return (h @ last.T)[:, 0], gradient[:, : self.dim]


class MLPDenoiser:
    """The denoiser of a learned log density. Equation MLP-1.

    ``log p = -|z|^2 / (2 (sigma^2 + s^2)) + (s / sigma) F(z / sqrt(sigma^2 + s^2), ln(sigma) / 4)``, s SIGMA_DATA:
    then ``D = z + sigma^2 grad log p`` is EDM's preconditioning, with the gradient of F in the network's place.

    Args:
        network: computes in the type of its parameters; the skip connection in that of z.
    """

    def __init__(self, network: LogDensityMLP) -> None:
        self.network = network
        self.sigma_min, self.sigma_max = 0.002, 5.0  # the grid of Karras et al. 2024

    def cost(self, sigma: Sigma) -> int:
        """One evaluation."""
        return 1

    def __call__(self, z: Tensor, sigma: Sigma, cond: Cond = None) -> Tensor:
        """x0 (B, D) of z (B, D), same type.

        Raises:
            UsageError: for a condition.
        """
        if cond is not None:
            raise UsageError("cond must be None for a network of one density; one of each class makes a PerClass")
        level = column(sigma, z).clamp(min=self.sigma_min)
        c_skip, c_out = preconditioning(level)
        return c_skip * z + c_out * self._potential(z, level)[1]

    def log_density(self, z: Tensor, sigma: Sigma) -> Tensor:
        """Log density at z (B, D), up to a constant that depends on sigma; (B,), in nats."""
        level = column(sigma, z).clamp(min=self.sigma_min)
        gaussian = -(z.square() / (2 * (level**2 + SIGMA_DATA**2))).sum(1)
        return gaussian + (SIGMA_DATA / level).expand(len(z), 1)[:, 0] * self._potential(z, level)[0]

    def _potential(self, z: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        u = z * (level**2 + SIGMA_DATA**2).rsqrt()
        c = (level.log() / 4).expand(len(z), 1)[:, 0]
        value, gradient = self.network(u.to(self.network.gain), c.to(self.network.gain))
        return value.to(z), gradient.to(z)


def preconditioning(level: Tensor) -> tuple[Tensor, Tensor]:
    """``c_skip = s^2 / (sigma^2 + s^2)`` and ``c_out = sigma s / sqrt(sigma^2 + s^2)``. Equation MLP-1."""
    total = level**2 + SIGMA_DATA**2
    return SIGMA_DATA**2 / total, SIGMA_DATA * level * total.rsqrt()


def denoising_loss(network: LogDensityMLP, x: Tensor, sigma: Tensor, eps: Tensor) -> Tensor:
    """``mean |D(x + sigma eps) - x|^2 / c_out^2``, EDM's weighting; a scalar. Equation MLP-2.

    Args:
        network: the one that is trained.
        x: (B, D) clean data.
        sigma: (B,).
        eps: (B, D) drawn noise.
    """
    level = sigma[:, None]
    z = x + level * eps
    c_skip, c_out = preconditioning(level)
    _, gradient = network(z * (level**2 + SIGMA_DATA**2).rsqrt(), sigma.log() / 4)
    error: Tensor = gradient - (x - c_skip * z) / c_out
    return error.square().sum(1).mean()


def _unit(w: Tensor) -> Tensor:
    """Rows of unit length."""
    length: Tensor = torch.linalg.vector_norm(w, dim=1, keepdim=True)
    return w / length
