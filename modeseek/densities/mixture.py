"""Gaussian mixtures at any noise level, in log space."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from modeseek.errors import UsageError
from modeseek.noise import Sigma
from modeseek.randomness import Streams


class GaussianMixture:
    """``p(x) = sum_k w_k N(x; mu_k, C_k)`` in D dimensions. Equation MIX-1.

    Every method takes a noise level: the density of ``x + sigma * eps`` is the mixture with ``C_k + sigma^2 I``.

    Args:
        means: (K, D).
        covariances: (K, D, D), symmetric and positive semi-definite; zero is a point mass, fine at sigma > 0.
        weights: (K,), positive; normalised here. Equal if not given.

    Raises:
        UsageError: if the shapes disagree, a weight is not positive, or a covariance has a negative eigenvalue.
    """

    def __init__(self, means: Tensor, covariances: Tensor, weights: Tensor | None = None) -> None:
        k, d = means.shape if means.ndim == 2 else (0, 0)
        if k == 0 or covariances.shape != (k, d, d):
            raise UsageError(
                f"means must be (K, D) and covariances (K, D, D), got {(*means.shape,)} and {(*covariances.shape,)}"
            )
        weights = torch.ones_like(means[:, 0]) if weights is None else weights
        if weights.shape != (k,) or not bool((weights > 0).all()):
            raise UsageError(f"weights must be {k} positive numbers, got {weights.tolist()}")
        eigenvalues, self._axes = torch.linalg.eigh(covariances)
        if float(eigenvalues.min()) < -1e-6 * float(eigenvalues.abs().max()):
            raise UsageError(f"covariances must be positive semi-definite, got eigenvalue {float(eigenvalues.min())}")
        self._variances = eigenvalues.clamp(min=0)
        self.means, self.covariances = means, covariances
        self.log_weights = (weights / weights.sum()).log()

    @classmethod
    def isotropic(cls, means: Tensor, std: float, weights: Tensor | None = None) -> GaussianMixture:
        """Components of one standard deviation ``std``; std 0 is the empirical density of the points ``means``."""
        d = means.shape[-1]
        eye = torch.eye(d, dtype=means.dtype, device=means.device)
        return cls(means, (std**2 * eye).expand(len(means), d, d), weights)

    @property
    def dim(self) -> int:
        """D."""
        return self.means.shape[1]

    def _components(self, x: Tensor, sigma: Sigma) -> tuple[Tensor, Tensor, Tensor]:
        """Per point and component: log(w_k N(x)), (B, K); whitening coordinates and variances, (B, K, D)."""
        sigma = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).reshape(-1, 1, 1)
        variances = self._variances + sigma**2
        u = torch.einsum("bkd,kde->bke", x[:, None] - self.means, self._axes)
        quadratic = (u.square() / variances).sum(-1)
        log_det = variances.log().sum(-1)
        log_joint = self.log_weights - 0.5 * (quadratic + log_det + self.dim * math.log(2 * math.pi))
        return log_joint, u, variances

    def log_prob(self, x: Tensor, sigma: Sigma = 0.0) -> Tensor:
        """Log density of points (B, D) at noise level ``sigma``; (B,), in nats. Equation MIX-1."""
        return self._components(x, sigma)[0].logsumexp(-1)

    def posterior_mean(self, z: Tensor, sigma: Sigma, allowed: Tensor | None = None) -> Tensor:
        """``E[x | z]`` for ``z = x + sigma * eps``; (B, D). Equation MIX-2.

        Args:
            z: (B, D).
            sigma: a number, or (B,).
            allowed: (B, K) or (K,) bool, the components that may have made x; all of them if not given.
        """
        log_joint, u, variances = self._components(z, sigma)
        if allowed is not None:
            log_joint = log_joint.masked_fill(~allowed, -torch.inf)
        r = log_joint.softmax(-1)
        shrunk = torch.einsum("bke,kde->bkd", u * (self._variances / variances), self._axes)
        return torch.einsum("bk,bkd->bd", r, self.means + shrunk)

    def score(self, x: Tensor, sigma: Sigma = 0.0) -> Tensor:
        """Gradient of ``log_prob`` in x; (B, D). Equation MIX-3."""
        log_joint, u, variances = self._components(x, sigma)
        pull = torch.einsum("bke,kde->bkd", u / variances, self._axes)
        return -torch.einsum("bk,bkd->bd", log_joint.softmax(-1), pull)

    def sample(self, n: int, rng: torch.Generator, sigma: float = 0.0) -> Tensor:
        """n points (n, D) at noise level ``sigma``, drawn from a bare CPU generator."""
        index = torch.multinomial(self.log_weights.exp().cpu(), n, replacement=True, generator=rng).to(
            self.means.device
        )
        eps = torch.randn(n, self.dim, generator=rng).to(self.means)
        scaled = eps * (self._variances[index] + sigma**2).sqrt()
        return self.means[index] + torch.einsum("bde,be->bd", self._axes[index], scaled)

    def draw(self, rng: Streams) -> Tensor:
        """One point per stream, (len(rng), D)."""
        u = rng.uniform((len(rng), 1)).to(self.means)
        index = torch.searchsorted(self.log_weights.exp().cumsum(0), u[:, 0].contiguous()).clamp(
            max=len(self.means) - 1
        )
        scaled = rng.normal((len(rng), self.dim)).to(self.means) * self._variances[index].sqrt()
        return self.means[index] + torch.einsum("bde,be->bd", self._axes[index], scaled)
