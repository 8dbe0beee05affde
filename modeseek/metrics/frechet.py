"""Fréchet distance between Gaussians fitted to two sets of features (Heusel et al. 2017)."""

from __future__ import annotations

import torch
from torch import Tensor

from modeseek.metrics.features import check_features


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """``|mu_a - mu_b|^2 + tr(C_a + C_b - 2 (C_a^1/2 C_b C_a^1/2)^1/2)``. Equation FD-1.

    Two symmetric eigenvalue problems in float64; with fewer samples than dimensions the covariances are singular, which
    is allowed, and the distance is biased upwards, which is not corrected.

    Args:
        a: features (N, D).
        b: features (M, D).

    Raises:
        UsageError: if the shapes do not fit or a set has fewer than two rows.
    """
    check_features(a, b)
    a, b = a.double(), b.double()
    cov_a, cov_b = torch.cov(a.T).reshape(a.shape[1], -1), torch.cov(b.T).reshape(b.shape[1], -1)
    values, vectors = torch.linalg.eigh(cov_a)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    mean = (a.mean(0) - b.mean(0)).square().sum()
    return float(mean + cov_a.trace() + cov_b.trace() - 2 * cross)
