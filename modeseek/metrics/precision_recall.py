"""Precision and recall by nearest neighbours (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from modeseek.errors import UsageError
from modeseek.metrics.points import checked_points, squared_distances


@dataclass(frozen=True)
class PrecisionRecall:
    """How two sets of points cover each other. Equation PR-1.

    The manifold of a set is the union of closed balls, one around each of its points, that reach to the point's k-th
    nearest neighbour in the same set, itself not counted.

    Attributes:
        precision: share of the fake points inside the manifold of the real ones.
        recall: share of the real points inside the manifold of the fake ones.
        density: mean over fake points of the number of real balls around it, over k; not bounded by 1.
        coverage: share of the real balls with a fake point inside.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def precision_recall(fake: Tensor, real: Tensor, k: int = 3) -> PrecisionRecall:
    """Generative precision and recall, as the paper's Table 2 reports them. Equation PR-1.

    Balls are closed, as in the article; the package prdc takes open ones, which differs only where a distance equals a
    radius exactly, for instance for balls of radius 0 where k + 1 points coincide. The values depend on the number of
    points: compare sets of equal size. Time O(N^2 + M^2 + N M), memory O(N + M).

    Args:
        fake: the samples (N, D).
        real: points of the density (M, D).
        k: which neighbour; needs N, M > k.

    Raises:
        UsageError: if the points are not finite rows of one D, k is less than 1, or there are too few points for k.
    """
    real = checked_points(real, "real")
    fake = checked_points(fake, "fake", real.shape[1])
    if k < 1 or min(len(fake), len(real)) <= k:
        sizes = f"{len(fake)} fake and {len(real)} real"
        raise UsageError(f"k must be at least 1 and below the number of points, {sizes}, got {k}")
    real_radii, fake_radii = _radii(real, k), _radii(fake, k)
    around = torch.zeros(len(fake), dtype=torch.int64, device=fake.device)
    recalled = torch.zeros(len(real), dtype=torch.bool, device=fake.device)
    covered = recalled.clone()
    for rows, squared in squared_distances(fake, real):
        inside = squared <= real_radii
        around[rows] = inside.sum(1)
        covered |= inside.any(0)
        recalled |= (squared <= fake_radii[rows, None]).any(0)
    shares = (around > 0, recalled, around.double() / k, covered)
    return PrecisionRecall(*(float(s.double().mean()) for s in shares))


def _radii(points: Tensor, k: int) -> Tensor:
    """Squared distance to the k-th nearest other point, (N,): the point itself is the first of k + 1."""
    radii = torch.empty_like(points[:, 0])
    for rows, squared in squared_distances(points, points):
        radii[rows] = squared.topk(k + 1, largest=False).values.amax(1)  # topk: kthvalue is ten times slower
    return radii
