"""A configuration becomes an estimator; the table of names is in ``modeseek.methods``."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from modeseek.denoisers import NoiseMLP
from modeseek.denoisers.base import check_level
from modeseek.estimators import MSD, SDI, SDS, VSD, Auxiliary, Estimator, Particles, Trained
from modeseek.lab.config import LabConfig
from modeseek.lab.problem import Problem
from modeseek.methods import PRODUCT_SAMPLERS, ProductOptions
from modeseek.noise import NoiseTable, karras_sigmas
from modeseek.samplers.product import Grid
from modeseek.schedules import Anneal, Bandwidth

LEVELS = 1000
AUXILIARY_LR = 1e-2  # of a network of a few thousand weights; 1e-4 is a LoRA's


def grid(config: LabConfig) -> Grid:
    """Levels of the samplers."""
    return Grid(karras_sigmas(config.sample_steps, config.sigma_min, config.sigma_max))


def table(config: LabConfig) -> NoiseTable:
    """Levels that sds and vsd draw from, and sdi anneals over."""
    if config.levels == "vp":
        return NoiseTable.vp(LEVELS)
    if config.levels == "karras":
        return NoiseTable.karras(LEVELS, config.sigma_min, config.sigma_max)
    return NoiseTable(torch.linspace(config.sigma_min, config.sigma_max, LEVELS, dtype=torch.float64))


def msd(config: LabConfig, problem: Problem, particles: Tensor | None = None) -> Estimator:
    """Mean-shift distillation with the configured product sampler.

    Raises:
        UsageError, UnstableError: if the model does not know the bandwidth, or the sampler fails at the smallest.
    """
    if config.sampler == "posterior_mean":
        check_level(problem.denoiser, config.bandwidth_start, "bandwidth_start for posterior_mean")
    options = ProductOptions(
        start=config.start,
        low=config.kernel_low,
        high=config.kernel_high,
        data_variance=problem.variance,
        sweeps=config.sweeps,
        max_eps=config.max_eps,
    )
    sampler = PRODUCT_SAMPLERS[config.sampler].load().build(grid(config), options, problem.plain)
    sampler.check(config.bandwidth_end)
    bandwidth = Bandwidth(config.bandwidth_start, config.bandwidth_end, config.steps, config.bandwidth_shape)
    return MSD(problem.denoiser, sampler, bandwidth, n_samples=config.n_samples)


def sds(config: LabConfig, problem: Problem, particles: Tensor | None = None) -> Estimator:
    """Score distillation."""
    time_range = (config.time_low, config.time_high)
    return SDS(problem.denoiser, table(config), time_range=time_range, weighting=config.weighting)


def vsd(config: LabConfig, problem: Problem, particles: Tensor | None = None) -> Estimator:
    """Variational score distillation; its particles are the batch, or those given."""
    levels, time_range = table(config), (config.time_low, config.time_high)
    auxiliary: Auxiliary = Particles(config.smoothing, particles)
    if config.auxiliary == "trained":
        network = NoiseMLP(seed=config.seed).double()
        auxiliary = Trained(network, network, levels, lr=AUXILIARY_LR, time_range=time_range)
    return VSD(problem.denoiser, levels, auxiliary, time_range=time_range, weighting=config.weighting)


def sdi(config: LabConfig, problem: Problem, particles: Tensor | None = None) -> Estimator:
    """Score distillation via inversion; the inversion is not guided."""
    return SDI(
        problem.denoiser,
        table(config),
        inverse=problem.plain,
        time=Anneal(config.time_high, config.time_low, config.steps),
        inversion_steps=config.inversion_steps,
        eta=config.eta,
        sigma_start=config.sigma_start,
        max_eps=config.max_eps,
    )


BUILDERS: dict[str, Callable[..., Estimator]] = {"msd": msd, "sds": sds, "vsd": vsd, "sdi": sdi}


def build_estimator(config: LabConfig, problem: Problem, particles: Tensor | None = None) -> Estimator:
    """The configured estimator; not for ddim, which is none.

    Args:
        config: of the method.
        problem: of the configuration.
        particles: (N, 2), instead of the batch: whose density vsd pushes away from.
    """
    return BUILDERS[config.method](config, problem, particles)
