"""A set, the density that is sought, and the denoiser that a method sees of it. All in float64."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from modeseek.denoisers import Denoiser, IdealDenoiser, MixtureDenoiser, PerClass
from modeseek.denoisers.mlp_training import MAIN, SMALL, MLPConfig, learned
from modeseek.densities import GaussianMixture, PlanarSet, open_set
from modeseek.errors import UsageError
from modeseek.guidance import CFG, Autoguidance, LimitedInterval
from modeseek.lab.config import LabConfig
from modeseek.randomness import Streams

DATA, REFERENCE, FRESH = -1, -2, -3  # steps of the streams from which sets of points are drawn


@dataclass(frozen=True)
class Problem:
    """What a run in the plane is about.

    Attributes:
        planar: the set.
        density: what is sought: the set's class, or all of it.
        plain: the denoiser without guidance.
        denoiser: the denoiser, guided.
        cond: the class as a condition (1,); None where the set is sought as a whole.
    """

    planar: PlanarSet
    density: GaussianMixture
    plain: Denoiser
    denoiser: Denoiser
    cond: Tensor | None

    @classmethod
    def of(cls, config: LabConfig) -> Problem:
        """The configured problem; trains networks that are not in the cache yet.

        Raises:
            UsageError: for an unknown set or class, or guidance towards a class of a set that has none.
        """
        planar = open_set(config.set)
        if config.label is not None:
            planar = dataclasses.replace(planar, target=config.label)
        density = planar.of_class(planar.target)
        if config.guidance == "cfg" and planar.target is None:
            raise UsageError(
                f"guidance cfg needs a class: give --label for a set with classes; {planar.name} seeks all"
            )
        cond = None if planar.target is None else torch.tensor([planar.target])
        plain = _plain(config, planar)
        return cls(planar, density, plain, _guided(config, planar, plain), cond)

    @property
    def variance(self) -> float:
        """Of the density, per coordinate."""
        density = self.density
        weights = density.log_weights.exp()
        mean = weights @ density.means
        within = weights @ density.covariances.diagonal(dim1=1, dim2=2).mean(1)
        return float(within + weights @ (density.means - mean).square().mean(1))

    def sample(self, n: int, seed: int, step: int = REFERENCE) -> Tensor:
        """n points (n, 2) of the density, the same for the same seed and step."""
        return self.density.sample(n, generator(seed, step))


def generator(seed: int, step: int) -> torch.Generator:
    """A bare generator for sets of points, which need no stream a point."""
    drawn = Streams(seed, [(0,)], step).uniform((1, 2))
    return torch.Generator().manual_seed(int(drawn[0, 0] * 2**24) * 2**24 + int(drawn[0, 1] * 2**24))


def cache() -> Path:
    """Folder of the trained networks: ``MODESEEK_CACHE``, else the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("MODESEEK_CACHE") or Path(home) / "modeseek")


def network(planar: PlanarSet, label: int | None, config: MLPConfig = MAIN) -> Denoiser:
    """The learned denoiser of a class, from the cache or trained now (about a minute)."""
    return learned(planar.of_class(label), config, cache())


def ideal(config: LabConfig, planar: PlanarSet, label: int | None) -> Denoiser:
    """The ideal denoiser of a data set drawn from a class."""
    data = planar.of_class(label).sample(config.data, generator(config.seed, DATA))
    return IdealDenoiser(data, sigma_max=config.sigma_max)


def _plain(config: LabConfig, planar: PlanarSet) -> Denoiser:
    if config.denoiser == "exact":
        return MixtureDenoiser(planar.mixture, planar.classes, sigma_max=config.sigma_max)
    make = partial(ideal, config, planar) if config.denoiser == "ideal" else partial(network, planar)
    if planar.target is None:
        return make(None)
    return PerClass({planar.target: make(planar.target)}, make(None) if config.guidance == "cfg" else None)


def _guided(config: LabConfig, planar: PlanarSet, plain: Denoiser) -> Denoiser:
    if config.guidance == "none":
        return plain
    guided: Denoiser = CFG(plain, config.guidance_scale)
    if config.guidance == "autoguidance":
        bad = network(planar, planar.target, SMALL)
        worse = bad if planar.target is None else PerClass({planar.target: bad}, None)
        guided = Autoguidance(plain, worse, config.guidance_scale)
    if (config.guidance_low, config.guidance_high) == (0.0, float("inf")):
        return guided
    return LimitedInterval(guided, plain, config.guidance_low, config.guidance_high)
