"""Densities in the plane by name: Gaussian mixtures, the same on every machine, of standard deviation about one half.

Curves are strands of Gaussians, each drawn out along the curve, three standard deviations apart. So a strand is a curve
to the eye and keeps one mode a Gaussian: on a ridge without modes nothing could be counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from modeseek.densities.fractal import Array, fractal
from modeseek.densities.mixture import GaussianMixture
from modeseek.errors import UsageError
from modeseek.planar import SETS, unknown

STD = 0.5  # of a set, the root of the mean variance of its axes
ALONG = 0.33  # standard deviation along a strand over its spacing: the density falls by a third between Gaussians


@dataclass(frozen=True)
class PlanarSet:
    """A density in the plane, with its classes.

    Attributes:
        name: as in ``modeseek.planar``, or of a picture.
        mixture: all classes together.
        classes: (K,) long, the class of each component, 0 and up; None for a set of one class.
        target: the class that a run of the laboratory seeks; None is the whole mixture.
    """

    name: str
    mixture: GaussianMixture
    classes: Tensor | None = None
    target: int | None = None

    def of_class(self, k: int | None) -> GaussianMixture:
        """The mixture of one class; of all where k is None.

        Raises:
            UsageError: if the set has no such class.
        """
        if k is None:
            return self.mixture
        count = 0 if self.classes is None else int(self.classes.max()) + 1
        if self.classes is None or not 0 <= k < count:
            raise UsageError(f"the class of {self.name} must be None or below {count}, got {k}")
        index, m = self.classes == k, self.mixture
        return GaussianMixture(m.means[index], m.covariances[index], m.log_weights[index].exp())

    @property
    def density(self) -> GaussianMixture:
        """What a run of the laboratory seeks: ``of_class(target)``."""
        return self.of_class(self.target)


def scaled(name: str, means: Array, covariances: Array, weights: Array, classes: Tensor | None = None) -> PlanarSet:
    """The set moved to mean 0 and scaled, the same along both axes, to standard deviation ``STD``."""
    w = weights / weights.sum()
    centred = means - w @ means
    unit = STD / math.sqrt(((w @ centred**2) + np.einsum("k,kii->i", w, covariances)).mean())
    mixture = GaussianMixture(*map(torch.from_numpy, (unit * centred, unit**2 * covariances, w)))
    return PlanarSet(name, mixture, classes)


Strand = tuple[Array, Array]  # means (n, 2) and covariances (n, 2, 2)


def _strand(curve: Callable[[Array], Array], start: float, end: float, spacing: float, across: float) -> Strand:
    """Gaussians at equal distances along ``curve`` (complex), about ``spacing`` apart and ``across`` thick."""
    fine = np.linspace(start, end, 20001)
    length = np.concatenate([[0.0], np.abs(np.diff(curve(fine))).cumsum()])
    n = round(length[-1] / spacing)
    t = np.interp((np.arange(n) + 0.5) / n * length[-1], length, fine)
    tangent = curve(t + 1e-6) - curve(t - 1e-6)
    tangent = np.stack([tangent.real, tangent.imag], -1) / np.abs(tangent)[:, None]
    along = np.einsum("kd,ke->kde", tangent, tangent)
    covariances = (ALONG * length[-1] / n) ** 2 * along + across**2 * (np.eye(2) - along)
    return np.stack([curve(t).real, curve(t).imag], -1), covariances


def _of_strands(name: str, strands: Sequence[Strand], weights: Array | None = None) -> PlanarSet:
    """A class per strand; the weight of a Gaussian is one, so that density is even along and between strands."""
    means, covariances = (np.concatenate(column) for column in zip(*strands))
    counts = torch.tensor([len(centres) for centres, _ in strands])
    classes = torch.arange(len(strands)).repeat_interleave(counts) if len(strands) > 1 else None
    return scaled(name, means, covariances, np.ones(len(means)) if weights is None else weights, classes)


def _fractal() -> PlanarSet:
    mixture, classes = fractal()
    return PlanarSet("fractal", mixture, classes, target=0)


def _spiral() -> PlanarSet:
    def arm(turn: float) -> Strand:
        return _strand(lambda t: t * np.exp(1j * (t + turn)), 0.5 * math.pi, 3.4 * math.pi, 1.5, 0.45)

    return _of_strands("spiral", [arm(0.0), arm(math.pi)])


def _pinwheel() -> PlanarSet:
    """Blades as of Johnson et al. 2016: radius about 1 with deviation 0.3, turned by an angle that grows with it."""

    def blade(i: int) -> Strand:
        return _strand(lambda r: r * np.exp(1j * (2 * math.pi * i / 5 + 0.25 * np.exp(r))), 0.2, 1.8, 0.13, 0.05)

    blades = [blade(i) for i in range(5)]
    radius = np.linalg.norm(np.concatenate([means for means, _ in blades]), axis=-1)
    return _of_strands("pinwheel", blades, np.exp(-0.5 * ((radius - 1) / 0.3) ** 2))


def _moons() -> PlanarSet:
    upper = _strand(lambda t: np.exp(1j * t), 0.0, math.pi, 0.2, 0.07)
    lower = _strand(lambda t: 1 + 0.5j - np.exp(1j * t), 0.0, math.pi, 0.2, 0.07)
    return _of_strands("moons", [upper, lower])


def _checkerboard() -> PlanarSet:
    """An 8 x 8 lattice of round Gaussians a square, nearly flat inside; the edge is as sharp as they are narrow."""
    lattice = (np.arange(32) + 0.5) / 16 - 1
    x, y = (axis.ravel() for axis in np.meshgrid(lattice, lattice))
    black = (np.floor(2 * x) + np.floor(2 * y)) % 2 == 0
    means = np.stack([x, y], -1)[black]
    covariances = np.broadcast_to((0.45 / 16) ** 2 * np.eye(2), (len(means), 2, 2))
    return scaled("checkerboard", means, covariances, np.ones(len(means)))


def _rings() -> PlanarSet:
    def ring(radius: float) -> Strand:
        return _strand(lambda t: radius * np.exp(1j * t), 0.0, 2 * math.pi, 0.17, 0.04)

    return _of_strands("rings", [ring(1 / 3), ring(2 / 3), ring(1.0)])


def _swiss_roll() -> PlanarSet:
    return _of_strands("swiss_roll", [_strand(lambda t: t * np.exp(1j * t), 1.5 * math.pi, 4.5 * math.pi, 2.0, 0.55)])


def _eight_gaussians() -> PlanarSet:
    means = np.array([[math.cos(a), math.sin(a)] for a in np.arange(8) * math.pi / 4])
    return scaled("eight_gaussians", means, np.broadcast_to(0.125**2 * np.eye(2), (8, 2, 2)), np.ones(8))


BUILDERS: dict[str, Callable[[], PlanarSet]] = {
    "fractal": _fractal,
    "spiral": _spiral,
    "pinwheel": _pinwheel,
    "moons": _moons,
    "checkerboard": _checkerboard,
    "rings": _rings,
    "swiss_roll": _swiss_roll,
    "eight_gaussians": _eight_gaussians,
}


def planar_set(name: str, dtype: torch.dtype = torch.float64) -> PlanarSet:
    """The set of this name, see ``modeseek.planar.SETS``.

    Raises:
        UsageError: if there is none, with the nearest name.
    """
    if name not in BUILDERS:
        raise unknown("the set", name, SETS)
    s = BUILDERS[name]()
    return PlanarSet(s.name, s.mixture.to(dtype), s.classes, s.target)
