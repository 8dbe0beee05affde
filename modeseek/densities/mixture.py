"""Gaussian mixtures at any noise level, in log space."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from modeseek.errors import UsageError
from modeseek.noise import Sigma
from modeseek.randomness import Streams

if TYPE_CHECKING:
    from modeseek.densities.modes import Modes

CHUNK_BYTES = 2**22  # of one temporary (b, K, D): stays in the cache, and a few of them are alive at a time


class Expansion(NamedTuple):
    """The log density near B points: ``log_prob`` (B,), ``score`` (B, D), ``hessian`` and ``precision`` (B, D, D)."""

    log_prob: Tensor
    score: Tensor
    hessian: Tensor
    precision: Tensor


class GaussianMixture:
    """``p(x) = sum_k w_k N(x; mu_k, C_k)`` in D dimensions. Equation MIX-1.

    Every method takes a noise level: the density of ``x + sigma * eps`` is the mixture with ``C_k + sigma^2 I``.
    Memory does not grow with the batch: it is worked through in parts whose temporaries stay below ``CHUNK_BYTES``.

    Args:
        means: (K, D).
        covariances: (K, D, D), symmetric and positive semi-definite; a component without width in some direction
            (a point mass) is fine at sigma > 0.
        weights: (K,), positive; normalised here. Equal if not given.

    Raises:
        UsageError: if the shapes disagree, a number is not finite, a weight is not positive, or a covariance has a
            negative eigenvalue; from the methods, at sigma 0 where a component has no width.
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
        if not all(bool(t.isfinite().all()) for t in (means, covariances, weights)):
            raise UsageError("means, covariances and weights must be finite, got a NaN or an infinity")
        eigenvalues, self._axes = torch.linalg.eigh(covariances)
        if float(eigenvalues.min()) < -1e-6 * float(eigenvalues.abs().max()):
            raise UsageError(f"covariances must be positive semi-definite, got eigenvalue {float(eigenvalues.min())}")
        rounding = d * torch.finfo(means.dtype).eps * eigenvalues[:, -1:]  # no width: eigh does not return exact zeros
        self._variances = torch.where(eigenvalues > rounding, eigenvalues, 0.0)
        self._flat = bool((self._variances == 0).any())
        self.means, self.covariances = means, covariances
        self.log_weights = (weights / weights.sum()).log()

    @classmethod
    def isotropic(cls, means: Tensor, std: float, weights: Tensor | None = None) -> GaussianMixture:
        """Components of one standard deviation ``std``; std 0 is the empirical density of the points ``means``."""
        d = means.shape[-1]
        eye = torch.eye(d, dtype=means.dtype, device=means.device)
        return cls(means, (std**2 * eye).expand(len(means), d, d), weights)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of means, covariances and weights: tells this density from any other."""
        parts = (self.means, self.covariances, self.log_weights)
        return hashlib.sha256(b"".join(p.detach().cpu().contiguous().numpy().tobytes() for p in parts)).hexdigest()

    @property
    def dim(self) -> int:
        """D."""
        return self.means.shape[1]

    def to(self, where: torch.dtype | torch.device) -> GaussianMixture:
        """The same mixture in another precision or on another device."""
        return GaussianMixture(self.means.to(where), self.covariances.to(where), self.log_weights.to(where).exp())

    def _parts(self, x: Tensor, sigma: Sigma, *more: Tensor, width: int = 1) -> Iterator[list[Tensor]]:
        """x (B, D), sigma (B,) or (1,) and more, cut along B so that (b, K, D, width) numbers fit into one chunk."""
        sigma = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).reshape(-1)
        if self._flat and bool((sigma**2 == 0).any()):
            raise UsageError("sigma must be positive for a mixture with a component of no width (a point mass), got 0")
        whole = [x, sigma, *more]
        rows = max(1, CHUNK_BYTES // (self.means.numel() * width * x.element_size()))
        batch = next((len(t) for t in whole if len(t) != 1), 1)
        for i in range(0, max(batch, 1), rows):
            yield [t if len(t) == 1 else t[i : i + rows] for t in whole]

    def _components(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Per point and component: log(w_k N(x)), (b, K); whitening coordinates and variances, (b, K, D)."""
        variances = self._variances + sigma.reshape(-1, 1, 1) ** 2
        u = torch.einsum("bkd,kde->bke", x[:, None] - self.means, self._axes)
        quadratic = (u.square() / variances) @ torch.ones_like(variances[0, 0])  # .sum(-1) takes ten times as long
        log_det = variances.log().sum(-1)
        log_joint = self.log_weights - 0.5 * (quadratic + log_det + self.dim * math.log(2 * math.pi))
        return log_joint, u, variances

    def log_prob(self, x: Tensor, sigma: Sigma = 0.0) -> Tensor:
        """Log density of points (B, D) at noise level ``sigma``; (B,), in nats. Equation MIX-1."""
        return torch.cat([self._components(*part)[0].logsumexp(-1) for part in self._parts(x, sigma)])

    def posterior_mean(self, z: Tensor, sigma: Sigma, allowed: Tensor | None = None) -> Tensor:
        """``E[x | z]`` for ``z = x + sigma * eps``; (B, D). Equation MIX-2.

        Args:
            z: (B, D).
            sigma: a number, or (B,).
            allowed: (B, K) or (K,) bool, the components that may have made x; all of them if not given.
        """
        mask = [] if allowed is None else [allowed.reshape(-1, len(self.means))]
        return torch.cat([self._posterior_mean(*part) for part in self._parts(z, sigma, *mask)])

    def _posterior_mean(self, z: Tensor, sigma: Tensor, allowed: Tensor | None = None) -> Tensor:
        log_joint, u, variances = self._components(z, sigma)
        if allowed is not None:
            log_joint = log_joint.masked_fill(~allowed, -torch.inf)
        r = log_joint.softmax(-1)
        shrunk = torch.einsum("bke,kde->bkd", u * (self._variances / variances), self._axes)
        return torch.einsum("bk,bkd->bd", r, self.means + shrunk)

    def score(self, x: Tensor, sigma: Sigma = 0.0) -> Tensor:
        """Gradient of ``log_prob`` in x; (B, D). Equation MIX-3."""
        return torch.cat([self._score(*part) for part in self._parts(x, sigma)])

    def _score(self, x: Tensor, sigma: Tensor) -> Tensor:
        log_joint, u, variances = self._components(x, sigma)
        pull = torch.einsum("bke,kde->bkd", u / variances, self._axes)
        return -torch.einsum("bk,bkd->bd", log_joint.softmax(-1), pull)

    def hessian(self, x: Tensor, sigma: Sigma = 0.0) -> Tensor:
        """Second derivatives of ``log_prob`` in x; (B, D, D). Equation MIX-4."""
        return self.expansion(x, sigma).hessian

    def expansion(self, x: Tensor, sigma: Sigma = 0.0) -> Expansion:
        """Log density, score, Hessian and the mean precision ``sum_k r_k S_k^-1`` at x, in one pass. Equation MIX-4."""
        parts = [self._expansion(*part) for part in self._parts(x, sigma, width=self.dim)]
        return Expansion(*(torch.cat(columns) for columns in zip(*parts)))

    def _expansion(self, x: Tensor, sigma: Tensor) -> Expansion:
        log_joint, u, variances = self._components(x, sigma)
        r = log_joint.softmax(-1)
        pull = torch.einsum("bke,kde->bkd", u / variances, self._axes)
        mean = torch.einsum("bk,bkd->bd", r, pull)
        precisions = torch.einsum("bkde,kfe->bkdf", self._axes / variances[:, :, None], self._axes)
        precision = torch.einsum("bk,bkdf->bdf", r, precisions)
        centred = pull - mean[:, None]  # the covariance of the pulls, without the difference of two large squares
        spread = (centred * r[..., None]).mT @ centred
        return Expansion(log_joint.logsumexp(-1), -mean, spread - precision, precision)

    def modes(self, sigma: float = 0.0) -> Modes:
        """The modes of the density at noise level ``sigma``; see ``modeseek.densities.modes.find_modes``."""
        from modeseek.densities.modes import find_modes

        return find_modes(self, sigma)

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
