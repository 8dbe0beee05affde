"""Principal components of a reference set, to compare small sets in few dimensions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from modeseek.errors import UsageError


@dataclass(frozen=True)
class PCA:
    """Projection on the principal components of a reference.

    Attributes:
        mean: (D,).
        axes: (D, k), orthonormal columns, by falling variance.
    """

    mean: Tensor
    axes: Tensor

    @classmethod
    def fit(cls, features: Tensor, dimensions: int) -> PCA:
        """Components of features (N, D); at most ``dimensions``, and no more than N - 1 or D.

        Raises:
            UsageError: if dimensions < 1 or there are fewer than two rows.
        """
        if dimensions < 1 or features.ndim != 2 or len(features) < 2:
            shape = (*features.shape,)
            raise UsageError(f"PCA needs (N >= 2, D) features and dimensions >= 1, got {shape}, {dimensions}")
        x = features.double()
        _, _, rows = torch.linalg.svd(x - x.mean(0), full_matrices=False)
        return cls(x.mean(0), rows[: min(dimensions, len(x) - 1, x.shape[1])].T)

    def __call__(self, features: Tensor) -> Tensor:
        """Coordinates (N, k) of features (N, D), float64."""
        return (features.double() - self.mean) @ self.axes
