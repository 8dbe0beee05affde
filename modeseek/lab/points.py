"""Points from where they start to where a method leaves them."""

from __future__ import annotations

import torch
from torch import Tensor

from modeseek.distillation import distill
from modeseek.generators import Points
from modeseek.lab.config import LabConfig
from modeseek.lab.methods import build_estimator, grid
from modeseek.lab.problem import Problem
from modeseek.randomness import Streams, normal
from modeseek.samplers import ddim


def dense_grid(config: LabConfig) -> Tensor:
    """Points (n^2, 2) on a square grid over [-box, box]^2."""
    axis = torch.linspace(-config.box, config.box, config.points, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis)


def streams(config: LabConfig) -> Streams:
    """One stream for each point."""
    return Streams.for_batch(config.seed, config.points**2)


@torch.no_grad()
def sampled(config: LabConfig, problem: Problem) -> Tensor:
    """As many DDIM samples (n^2, 2) as there would be points."""
    levels = grid(config).sigmas
    z = float(levels[0]) * normal(streams(config), torch.empty(config.points**2, 2, dtype=torch.float64))
    return ddim(problem.denoiser, z, levels, problem.cond)


def moved(config: LabConfig, problem: Problem) -> Tensor:
    """Where the method leaves the points of the dense grid, (n^2, 2); for ddim, samples."""
    if config.method == "ddim":
        return sampled(config, problem)
    points = Points(dense_grid(config))
    estimator = build_estimator(config, problem)
    distill(points, estimator, problem.cond, steps=config.steps, rng=streams(config), lr=config.lr)
    return points.x.detach()
