"""Fréchet distance between Gaussians fitted to two sets of features (Heusel et al. 2017)."""

from __future__ import annotations

import torch
from torch import Tensor

from modeseek.metrics.features import check_features


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """``|mu_a - mu_b|^2 + tr(C_a + C_b - 2 (C_a^1/2 C_b C_a^1/2)^1/2)``. Equation FD-1.

    In float64; with fewer samples than dimensions the covariances are singular, which is allowed. The distance is
    biased upwards, which is not corrected: equation FD-3 has what two sets of one Gaussian give, to first order in 1/N.

    Args:
        a: features (N, D).
        b: features (M, D).

    Raises:
        UsageError: if the shapes do not fit or a set has fewer than two rows.
    """
    check_features(a, b)
    a, b = a.double(), b.double()
    mean = (a.mean(0) - b.mean(0)).square().sum()
    a, b = ((x - x.mean(0)) / (len(x) - 1) ** 0.5 for x in (a, b))
    cross = _cross_of_rows(a, b) if max(len(a), len(b)) <= a.shape[1] else _cross_of_columns(a, b)
    return float(mean + a.square().sum() + b.square().sum() - 2 * cross)


def _cross_of_columns(a: Tensor, b: Tensor) -> Tensor:
    """tr (C_a^1/2 C_b C_a^1/2)^1/2 with C = x^T x, by two symmetric eigenvalue problems of D x D."""
    values, vectors = torch.linalg.eigh(a.T @ a)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross: Tensor = torch.linalg.eigvalsh(root @ (b.T @ b) @ root).clamp(min=0).sqrt().sum()
    return cross


def _cross_of_rows(a: Tensor, b: Tensor) -> Tensor:
    """The same as the sum of the singular values of a b^T, N x M: quick and exact for few samples. Equation FD-2."""
    cross: Tensor = torch.linalg.svdvals(a @ b.T).sum()
    return cross
