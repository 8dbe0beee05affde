"""Where points ended, in numbers that stand on the density and not on the code that moved them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from modeseek.densities import GaussianMixture
from modeseek.lab.config import LabConfig
from modeseek.lab.problem import Problem
from modeseek.metrics import mmd, nearest_mode, nll, precision_recall, share_at_modes, share_of_modes_found

_MODES: dict[tuple[str, float], Tensor] = {}  # they take seconds and are the same for every cell of a table
K, REFERENCES = 3, 10_000  # Kynkäänniemi et al. 2019


def true_modes(density: GaussianMixture, bandwidth: float) -> Tensor:
    """Modes (K, 2) of p * N(0, bandwidth^2), kept for the next who asks."""
    key = (density.fingerprint, bandwidth)
    if key not in _MODES:
        _MODES[key] = density.modes(bandwidth).points
    return _MODES[key]


@dataclass(frozen=True)
class Truth:
    """What points are held against.

    Attributes:
        problem: the density.
        seed: of the reference samples.
        bandwidth: at which modes are taken: those of p * N(0, bandwidth^2).
    """

    problem: Problem
    seed: int
    bandwidth: float

    @classmethod
    def of(cls, config: LabConfig, problem: Problem) -> Truth:
        """Of a configuration."""
        return cls(problem, config.seed, config.bandwidth_end)

    @cached_property
    def samples(self) -> Tensor:
        """Fresh samples (M, 2)."""
        return self.problem.sample(REFERENCES, self.seed)

    @property
    def modes(self) -> Tensor:
        """Modes (K, 2) of the density smoothed by the kernel, from the mixture itself."""
        return true_modes(self.problem.density, self.bandwidth)

    def measure(self, points: Tensor) -> dict[str, float]:
        """The numbers of points (N, 2).

        ``nll`` in nats; ``precision`` and ``recall`` against the samples (k = 3); ``mmd`` squared;
        ``at_modes``: share of points within two bandwidths of a mode; ``modes_found``: share of the modes with a point
        that near; ``distance``: median distance to the nearest mode.
        """
        density, near = self.problem.density, 2 * self.bandwidth
        found = precision_recall(points, self.samples, K)
        return {
            "nll": nll(points, density.log_prob),
            "precision": found.precision,
            "recall": found.recall,
            "mmd": mmd(points, self.samples),
            "at_modes": share_at_modes(points, self.modes, near),
            "modes_found": share_of_modes_found(points, self.modes, near),
            "distance": float(nearest_mode(points, self.modes).median()),
            "modes": float(len(self.modes)),
            "points": float(len(points)),
        }
