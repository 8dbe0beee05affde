"""The modes of a Gaussian mixture at any noise level, by exact mean shift from a dense start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from modeseek.errors import UsageError

if TYPE_CHECKING:
    from modeseek.densities.mixture import GaussianMixture

# Lengths below are in local standard deviations: of the mean precision A = sum_k r_k S_k^-1 where a point stands.
SETTLED = 1e-6  # a Newton step below this ends the ascent and is taken; the error left is of its square
STRIDE = 0.5  # longest accelerated step: it does not leap over a neighbouring mode
FLAT = 1e-7  # curvature, of A, below which float64 cannot tell a mode from a ridge
CELL = 0.02  # points in one cell of this size go on as one, the highest
SAME = 1e-3  # settled points nearer than this are one mode
GRID = 128  # starts along a side of the grid, at most (16384 on a line),
PAIRS = 2**24  # of starts on the grid and components, at most: many components leave few gaps between their means


@dataclass(frozen=True)
class Modes:
    """Verified modes, highest first.

    Attributes:
        points: (M, D); at each the score vanishes and the Hessian is negative definite, both relative to the mean
            precision there.
        log_prob: (M,), in nats.
        unresolved: places where starts ended that could not be verified: a ridge too flat for float64, or not settled
            in time; 0 where every start has ended at a mode of the list or at a saddle.
    """

    points: Tensor
    log_prob: Tensor
    unresolved: int


def find_modes(mixture: GaussianMixture, sigma: float = 0.0, starts: Tensor | None = None, steps: int = 2000) -> Modes:
    """Modes of ``p_sigma``, the mixture convolved with N(0, sigma^2 I). Equation MIX-5.

    Mean shift for mixtures (Carreira-Perpinan 2000), ``x <- (sum_k r_k S_k^-1)^-1 sum_k r_k S_k^-1 mu_k`` with
    ``S_k = C_k + sigma^2 I``. Where the curvature is small it creeps, so each eigendirection of the Hessian is
    stretched to Newton's step, at most ``STRIDE`` long in all; a step that does not climb is shortened.

    Args:
        sigma: noise level, at least 0.
        starts: (N, D); all means, and in one or two dimensions a grid over them, if not given.
        steps: of the ascent at most.

    Raises:
        UsageError: if sigma is negative or not finite, or 0 where a component has no width.
    """
    if not 0 <= sigma < float("inf"):
        raise UsageError(f"sigma must be finite and at least 0, got {sigma}")
    exact = mixture.to(torch.float64)
    ends = _ascend(exact, dense_start(exact, sigma) if starts is None else starts.double(), sigma, steps)
    x = _merged(*ends, SAME * _narrowest(exact, sigma))
    log_prob, score, hessian, precision = exact.expansion(x, sigma)
    _, length, bottom = _steps(score, hessian, precision, torch.ones_like(log_prob))
    top = (length < SETTLED) & (bottom > FLAT)
    saddle = (length < SETTLED) & (bottom < -FLAT)
    order = log_prob[top].argsort(descending=True, stable=True)
    points, heights = (t[top][order].to(mixture.means.dtype) for t in (x, log_prob))
    return Modes(points, heights, int((~top & ~saddle).sum()))


def dense_start(mixture: GaussianMixture, sigma: float) -> Tensor:
    """All means (K, D), and for D <= 2 a grid as fine as the narrowest component, two deviations beyond the means."""
    if mixture.dim > 2:
        return mixture.means
    reach = 2 * float(mixture.covariances.diagonal(dim1=-2, dim2=-1).max()) ** 0.5
    low, high = mixture.means.amin(0) - reach, mixture.means.amax(0) + reach
    limit = int(min(GRID**2, PAIRS / len(mixture.means)) ** (1 / mixture.dim))
    counts = ((high - low) / _narrowest(mixture, sigma)).ceil().clamp(2, limit).long().tolist()
    axes = [torch.linspace(a, b, n).to(mixture.means) for a, b, n in zip(low.tolist(), high.tolist(), counts)]
    return torch.cat([mixture.means, torch.cartesian_prod(*axes).reshape(-1, mixture.dim)])


def _narrowest(mixture: GaussianMixture, sigma: float) -> float:
    """The smallest standard deviation of any component at this level; 1 where there is none, which raises later."""
    smallest = float(torch.linalg.eigvalsh(mixture.covariances).min())
    return (max(smallest, 0.0) + sigma**2) ** 0.5 or 1.0


def _ascend(mixture: GaussianMixture, x: Tensor, sigma: float, steps: int) -> tuple[Tensor, Tensor]:
    """Where the starts end, (N, D), at modes, saddles, ridges, or under way; and the log density there, (N,)."""
    cell = CELL * _narrowest(mixture, sigma)
    anchor, step, high, stride = x, torch.zeros_like(x), torch.full_like(x[:, 0], -torch.inf), torch.ones_like(x[:, 0])
    ends: list[tuple[Tensor, Tensor]] = []
    for _ in range(steps):
        log_prob, score, hessian, precision = mixture.expansion(x, sigma)
        climbed = log_prob >= high - 1e-12 * high.abs().clamp(min=1)
        stride = torch.where(climbed, 2 * stride, stride / 4).clamp(1e-4 * STRIDE, STRIDE)  # ridges bend
        newton, length, bottom = _steps(score, hessian, precision, stride)
        ridge = (bottom.abs() <= FLAT) & (length < STRIDE)  # neither slope nor curvature: it would wander for ever
        done = climbed & ((length < SETTLED) | ridge)
        last = torch.where((bottom > FLAT)[:, None], x + newton, x)  # at a saddle the step would lead away
        ends.append((last[done], log_prob[done]))
        anchor, high = torch.where(climbed[:, None], x, anchor), torch.where(climbed, log_prob, high)
        step = torch.where(climbed[:, None], newton, step / 4)
        left = _apart(anchor, high, ~done, cell)
        x, anchor, step, high, stride = (anchor + step)[left], anchor[left], step[left], high[left], stride[left]
        if not len(x):
            break
    points, heights = (torch.cat(column) for column in zip(*ends, (x, high)))
    return points, heights


def _steps(score: Tensor, hessian: Tensor, precision: Tensor, stride: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The step (N, D), the length of the Newton step before it is cut to the stride, the least curvature (N,)."""
    root = torch.linalg.cholesky(precision)
    white = torch.linalg.solve_triangular(root, score[..., None], upper=False)  # the mean shift, A^-1 score, whitened
    inner = torch.linalg.solve_triangular(root, -hessian, upper=False)
    curvature, axes = torch.linalg.eigh(torch.linalg.solve_triangular(root, inner.mT, upper=False))
    newton = axes @ ((axes.mT @ white) / curvature.abs().clamp(FLAT, 1)[..., None])
    length = newton.norm(dim=(1, 2))
    reach = torch.maximum(white.norm(dim=(1, 2)), stride) / length.clamp(min=1e-300)
    step = torch.linalg.solve_triangular(root.mT, reach.clamp(max=1)[:, None, None] * newton, upper=True)
    return step[..., 0], length, curvature[:, 0]


def _apart(x: Tensor, high: Tensor, active: Tensor, cell: float) -> Tensor:
    """Indices of active points, of several in one cell the highest."""
    index = active.nonzero()[:, 0]
    index = index[high[index].argsort(descending=True, stable=True)]
    _, cells = torch.unique((x[index] / cell).round(), dim=0, return_inverse=True)
    rank = torch.arange(len(index), device=x.device)
    first = torch.full_like(rank, len(index)).scatter_reduce(0, cells, rank, "amin")
    return index[first[first < len(index)]]


def _merged(x: Tensor, high: Tensor, radius: float) -> Tensor:
    """Points without those nearer than ``radius`` to a higher one."""
    left, kept = high.argsort(descending=True, stable=True), []
    while len(left):
        kept.append(x[left[:1]])
        left = left[(x[left] - x[left[0]]).norm(dim=-1) > radius]
    return torch.cat(kept) if kept else x
