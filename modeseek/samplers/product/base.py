"""What the product samplers share: the grid, the start, and the denoiser with a kernel on it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Self

from torch import Tensor

from modeseek.denoisers.base import Cond, Denoiser
from modeseek.errors import UsageError
from modeseek.methods import ProductOptions
from modeseek.noise import Sigma, check_sigmas
from modeseek.randomness import Rng, normal
from modeseek.samplers.ddim import ddim


@dataclass(frozen=True)
class Grid:
    """Levels to integrate over.

    Attributes:
        sigmas: (T + 1,), falling.
        timesteps: (T + 1,), the model's timestep of each level, for the clock of that name.
    """

    sigmas: Tensor
    timesteps: Tensor | None = None

    def __post_init__(self) -> None:
        check_sigmas(self.sigmas)
        if self.timesteps is not None and self.timesteps.shape != self.sigmas.shape:
            raise UsageError(f"a grid of {len(self.sigmas)} levels needs as many timesteps, got {len(self.timesteps)}")


class ProductSampler(ABC):
    """``y ~ p(y) N(y; x, bandwidth^2) / Z``, the density whose mean is ``x`` plus the mean shift."""

    @classmethod
    @abstractmethod
    def build(cls, grid: Grid, options: ProductOptions, plain: Denoiser) -> Self:
        """The sampler on a grid; ``plain`` is the model without guidance, for an inversion."""

    @abstractmethod
    def nfe(self, denoiser: Denoiser, bandwidth: float) -> int:
        """Evaluations per sample that a call will take."""

    def check(self, bandwidth: float) -> None:  # noqa: B027, most samplers have nothing to refuse
        """Refuse a bandwidth at which the sampler is known to fail; here there is none.

        Raises:
            UnstableError: from samplers that diverge at small bandwidths.
        """

    @abstractmethod
    def draw(self, denoiser: Denoiser, x: Tensor, bandwidth: float, cond: Cond, rng: Rng) -> Tensor:
        """One y for every row of x."""

    def __call__(self, denoiser: Denoiser, x: Tensor, bandwidth: float, cond: Cond = None, *, rng: Rng) -> Tensor:
        """One y for every row of x.

        Args:
            denoiser: the model, guided or not.
            x: (B, *event), where the kernel stands.
            bandwidth: kernel standard deviation h, in units of x. The paper's lambda is sqrt(2) h.
            cond: condition of B rows or one.
            rng: streams of B samples, or a bare generator.

        Returns:
            y, (B, *event).

        Raises:
            UsageError: if the bandwidth is not positive.
        """
        if not bandwidth > 0:
            raise UsageError(f"bandwidth must be positive, got {bandwidth}")
        return self.draw(denoiser, x, bandwidth, cond, rng)


class GridSampler(ProductSampler):
    """A product sampler that integrates from ``start + sigma_max eps`` down the grid, with a kernel on the denoiser."""

    def __init__(self, grid: Grid, options: ProductOptions | None = None) -> None:
        self.grid, self.options = grid, options or ProductOptions()

    @classmethod
    def build(cls, grid: Grid, options: ProductOptions, plain: Denoiser) -> Self:
        """The sampler on a grid; ``plain`` is not used."""
        return cls(grid, options)

    def nfe(self, denoiser: Denoiser, bandwidth: float) -> int:
        """One evaluation a step, one more for the start at ``D(x; h)``."""
        steps = sum(denoiser.cost(self.level(s, bandwidth)) for s in self.grid.sigmas[:-1].tolist())
        return steps + (self.options.start == "posterior_mean") * denoiser.cost(start_level(denoiser, bandwidth))

    def draw(self, denoiser: Denoiser, x: Tensor, bandwidth: float, cond: Cond, rng: Rng) -> Tensor:
        """Draw the starting noise and integrate."""
        return self.solve(denoiser, x, bandwidth, cond, normal(rng, x))

    def solve(self, denoiser: Denoiser, x: Tensor, bandwidth: float, cond: Cond, eps: Tensor) -> Tensor:
        """The deterministic core: y for given starting noise ``eps`` of x's shape."""
        z = self.begin(denoiser, x, bandwidth, cond, eps)
        return ddim(self.kernelled(denoiser, x, bandwidth), z, self.grid.sigmas, cond)

    def begin(self, denoiser: Denoiser, x: Tensor, bandwidth: float, cond: Cond, eps: Tensor) -> Tensor:
        """``start + sigma_max eps``."""
        start = x
        if self.options.start == "posterior_mean":
            start = denoiser(x, start_level(denoiser, bandwidth), cond)
        return start + float(self.grid.sigmas[0]) * eps

    def kernelled(self, denoiser: Denoiser, x: Tensor, bandwidth: float) -> Denoiser:
        """The denoiser that the integrator sees; without a kernel here."""
        return denoiser

    def level(self, sigma: float, bandwidth: float) -> float:
        """Level at which the model is asked on the step from sigma."""
        return sigma

    def acts(self, sigma: float) -> bool:
        """Whether the kernel acts at a level."""
        return self.options.low <= sigma <= self.options.high


def start_level(denoiser: Denoiser, bandwidth: float) -> float:
    """Level at which ``D(x; h)`` is asked for a start: the bandwidth, or the largest that the model knows."""
    return min(bandwidth, denoiser.sigma_max)


class Kernelled(ABC):
    """A denoiser with a kernel at x on it, where the kernel acts."""

    def __init__(self, denoiser: Denoiser, x: Tensor, bandwidth: float, options: ProductOptions) -> None:
        self.denoiser, self.x, self.bandwidth, self.options = denoiser, x, bandwidth, options

    @property
    def sigma_min(self) -> float:
        """As the denoiser's."""
        return self.denoiser.sigma_min

    @property
    def sigma_max(self) -> float:
        """As the denoiser's."""
        return self.denoiser.sigma_max

    def cost(self, sigma: Sigma) -> int:
        """As the denoiser's."""
        return self.denoiser.cost(sigma)

    @abstractmethod
    def inside(self, z: Tensor, sigma: float, cond: Cond) -> Tensor:
        """x0 where the kernel acts."""

    def __call__(self, z: Tensor, sigma: Sigma, cond: Cond = None) -> Tensor:
        """x0, shape of z; ``sigma`` is the integrator's one level."""
        level = float(sigma)
        if self.options.low <= level <= self.options.high:
            return self.inside(z, level, cond)
        return self.denoiser(z, level, cond)


def variance_of_two(a: float, b: float) -> float:
    """``a^2 b^2 / (a^2 + b^2)``: variance left by two Gaussian looks of std a and b; b may be inf."""
    return 0.0 if a == 0 or b == 0 else 1.0 / (1.0 / a**2 + (0.0 if math.isinf(b) else 1.0 / b**2))
