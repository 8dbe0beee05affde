"""The two-class fractal: trees of Gaussians that branch (Karras et al. 2024; the paper's Figure 1)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modeseek.densities.mixture import GaussianMixture

DEPTH = 7
SCALE = np.array([1.3136, 1.3844])  # of both axes, so that the standard deviation of the data is near one third
ORIGIN = (0.0030, 0.0325)
ANGLES = (math.pi / 4, 5 * math.pi / 4)  # in which the trunks of class A and class B grow
FRACTIONS = np.linspace(0.07, 0.93, 8)  # of a branch, where its Gaussians stand

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass
class _Tree:
    """Gaussians of one class, gathered as the tree grows depth first."""

    rng: np.random.RandomState
    means: list[Array] = field(default_factory=list)
    covariances: list[Array] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)

    def grow(self, foot: Array, angle: float, depth: int) -> None:
        """A branch at ``depth``, then its whole left subtree, then its right one: also the order of drawing."""
        if depth == DEPTH:
            return
        length = 0.292 * 0.8**depth * (1 + 0.2 * self.rng.standard_normal())
        along = np.array([math.cos(angle), math.sin(angle)])
        self._branch(foot, along, length, depth)
        for side in (1, -1):
            turn = side * 0.7**depth * (1 + 0.2 * self.rng.standard_normal())
            self.grow(foot + length * along, angle + turn, depth + 1)

    def _branch(self, foot: Array, along: Array, length: float, depth: int) -> None:
        thickness = 0.2 * 0.8**depth / length
        across = np.eye(2) - np.outer(along, along)
        std = 0.06 * length * SCALE
        self.means += list(SCALE * (foot + FRACTIONS[:, None] * length * along))
        self.covariances += [(np.outer(along, along) + thickness**2 * across) * np.outer(std, std)] * len(FRACTIONS)
        self.weights += [length * 0.5**depth] * len(FRACTIONS)


def fractal(dtype: torch.dtype = torch.float64) -> tuple[GaussianMixture, Tensor]:
    """Both classes together, 2 x 1016 Gaussians, and the class of each, (2032,): 0 is A and 1 is B."""
    rng = np.random.RandomState(2)  # the legacy generator of the published data
    trees = [_Tree(rng), _Tree(rng)]
    for tree, angle in zip(trees, ANGLES):
        tree.grow(np.array(ORIGIN), angle, 0)
    gathered = [(np.stack(t.means), np.stack(t.covariances), np.array(t.weights)) for t in trees]
    means, covariances, weights = (torch.from_numpy(np.concatenate(both)).to(dtype) for both in zip(*gathered))
    return GaussianMixture(means, covariances, weights), torch.arange(2).repeat_interleave(len(weights) // 2)
