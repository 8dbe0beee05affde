"""The known answers that tests compare with, written without modeseek's own formulas, and the densities they use."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy import stats
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from modeseek.densities import GaussianMixture

MU = np.array([0.4, -0.3])
C = np.array([[0.5, 0.2], [0.2, 0.3]])

MEANS = np.array([[-0.6, 0.2], [0.5, 0.5], [0.1, -0.7]])
COVARIANCES = np.array([[[0.09, 0.03], [0.03, 0.05]], [[0.04, -0.01], [-0.01, 0.12]], [[0.16, 0.0], [0.0, 0.04]]])
WEIGHTS = np.array([0.5, 0.3, 0.2])

POINTS = np.array([[0.0, 0.0], [-0.9, 0.7], [0.3, -0.2], [1.1, 0.9], [-0.2, -1.3]])


def t64(array: object) -> Tensor:
    """A float64 tensor."""
    return torch.as_tensor(np.asarray(array), dtype=torch.float64)


def gaussian(dtype: torch.dtype = torch.float64) -> GaussianMixture:
    """N(MU, C)."""
    return GaussianMixture(t64(MU)[None].to(dtype), t64(C)[None].to(dtype))


def mixture(dtype: torch.dtype = torch.float64) -> GaussianMixture:
    """Three Gaussians in the plane."""
    return GaussianMixture(t64(MEANS).to(dtype), t64(COVARIANCES).to(dtype), t64(WEIGHTS).to(dtype))


def log_density(
    x: Tensor, h: float, means: np.ndarray = MEANS, covariances: np.ndarray = COVARIANCES, weights: np.ndarray = WEIGHTS
) -> Tensor:
    """log of a mixture convolved with N(0, h^2 I), by torch.distributions."""
    smoothed = t64(covariances) + h**2 * torch.eye(means.shape[-1], dtype=torch.float64)
    return MixtureSameFamily(Categorical(t64(weights)), MultivariateNormal(t64(means), smoothed)).log_prob(x)


def log_density_gradient(x: Tensor, h: float, **density: np.ndarray) -> Tensor:
    """Its gradient, by autograd."""
    x = x.clone().requires_grad_()
    return torch.autograd.grad(log_density(x, h, **density).sum(), x)[0]


def mixture_pdf(y: np.ndarray) -> np.ndarray:
    """The mixture's density, by scipy."""
    return sum(w * stats.multivariate_normal(m, c).pdf(y) for w, m, c in zip(WEIGHTS, MEANS, COVARIANCES))


def gaussian_pdf(y: np.ndarray) -> np.ndarray:
    """The Gaussian's density, by scipy."""
    return stats.multivariate_normal(MU, C).pdf(y)


def product_moments(
    pdf: Callable[[np.ndarray], np.ndarray], x: np.ndarray, h: float, reach: float = 6.0, points: int = 600
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of p(y) N(y; x, h^2) / Z in the plane, summed over a dense grid.

    The sum over a grid converges faster than any power for smooth functions that vanish at its ends.
    """
    axis = np.linspace(-reach, reach, points)
    y = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    mass = pdf(y) * np.exp(-((y - x) ** 2).sum(-1) / (2 * h**2))
    mass = mass / mass.sum()
    mean = mass @ y
    centred = y - mean
    return mean, (mass[:, None] * centred).T @ centred


def gaussian_product(x: np.ndarray, h: float, mu: np.ndarray = MU, c: np.ndarray = C) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of N(y; mu, c) N(y; x, h^2) / Z: precisions add."""
    precision = np.linalg.inv(c) + np.eye(len(mu)) / h**2
    covariance = np.linalg.inv(precision)
    return covariance @ (np.linalg.solve(c, mu) + x / h**2), covariance


def assert_moments(samples: Tensor, mean: np.ndarray, covariance: np.ndarray, errors: float = 5.0) -> None:
    """Mean and covariance of samples (N, D) lie within so many of their own standard errors."""
    y = samples.double().numpy()
    n, centred = len(y), y - mean
    mean_error = np.abs(y.mean(0) - mean) / np.sqrt(np.diag(covariance) / n)
    assert (mean_error < errors).all(), f"mean {y.mean(0)} is off {mean} by {mean_error} standard errors"
    products = centred[:, :, None] * centred[:, None, :]
    covariance_error = np.abs(products.mean(0) - covariance) / (products.std(0) / np.sqrt(n))
    assert (covariance_error < errors).all(), (
        f"covariance {products.mean(0)} is off {covariance} by {covariance_error} standard errors"
    )


def order(errors: Sequence[float], steps: Sequence[int]) -> float:
    """The p of an error that falls as steps^-p: slope of a line through the logs."""
    return float(-np.polyfit(np.log(steps), np.log(errors), 1)[0])


class Rows:
    """A denoiser that counts what really reaches it: rows over the batch of the call that is being watched."""

    def __init__(
        self, denoiser: Callable[..., Tensor], sigma_min: float = 0.0, sigma_max: float = float("inf")
    ) -> None:
        self.denoiser, self.rows, self.levels, self.seen = denoiser, 0, [], []
        self.sigma_min, self.sigma_max = sigma_min, sigma_max

    def cost(self, sigma: float | Tensor) -> int:
        return 1

    def __call__(self, z: Tensor, sigma: float | Tensor, cond: object = None) -> Tensor:
        self.rows += z.shape[0]
        self.levels.append(sigma)
        self.seen.append(z)
        return self.denoiser(z, sigma, cond)


def still(z: Tensor, sigma: float | Tensor, cond: object = None) -> Tensor:
    """D(z) = z: a model that moves nothing, so that only the kernel acts."""
    return z
