"""Pictures of a run in the plane."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from modeseek.densities import GaussianMixture
from modeseek.errors import ModeseekError, UsageError
from modeseek.estimators import Estimator
from modeseek.lab.config import LabConfig
from modeseek.lab.measure import true_modes
from modeseek.lab.methods import build_estimator
from modeseek.lab.problem import Problem
from modeseek.landscape import Landscape, axis, compare, survey
from modeseek.plots import Panel
from modeseek.randomness import Streams

LEAST_DRAWS = 4
SHADES, DEPTH = 160, 7.0  # side of the picture of a density; nats below its highest value that are still grey


def shade(density: GaussianMixture, box: float, sigma: float = 0.0) -> Tensor:
    """Log density (n, n) over [-box, box]^2 as grey values in [0, 1]."""
    nodes = torch.linspace(-box, box, SHADES, dtype=density.means.dtype)
    values = density.log_prob(torch.cartesian_prod(nodes, nodes), sigma).reshape(SHADES, SHADES)
    return ((values - values.max()) / DEPTH + 1).clamp(0, 1)


def middle(config: LabConfig) -> LabConfig:
    """The configuration at the landscape's bandwidth, and sdi in the middle of its time, whatever the step."""
    wide = config.landscape_bandwidth
    time = (config.time_low + config.time_high) / 2 if config.method == "sdi" else config.time_high
    low = time if config.method == "sdi" else config.time_low
    return dataclasses.replace(config, bandwidth_start=wide, bandwidth_end=wide, time_low=low, time_high=time)


def nodes(config: LabConfig) -> Tensor:
    """Coordinates of the field's grid, the same along both axes."""
    return axis(-config.box, config.box, config.field)


def check_landscape(config: LabConfig, problem: Problem) -> None:
    """Refuse before a run what could not be drawn after it.

    Raises:
        UsageError: if the method has no field at the landscape's bandwidth.
    """
    try:
        build_estimator(middle(config), problem)
    except ModeseekError as error:
        choice = "landscape_bandwidth must be one that the method takes, else choose --no-landscape"
        raise UsageError(f"{choice}, got {config.landscape_bandwidth}: {error}") from error


def landscape(
    config: LabConfig, problem: Problem, points: Tensor | None = None, fitted: Estimator | None = None
) -> Landscape:
    """The function that a method descends, over the box, on the mean of its gradients over draws of noise.

    All points share their noise, so that a method whose every draw is a gradient keeps a field that is one.

    Args:
        config: of the method.
        problem: of the configuration.
        points: (N, 2), the particles of vsd, whose field they are part of; the box's grid if not given.
        fitted: the run's own estimator, where it has learned something: vsd with a trained network.
    """
    estimator = fitted or build_estimator(middle(config), problem, points)
    few = min(LEAST_DRAWS, config.field_draws)
    draws = range(1 if config.noiseless else max(few, config.field_draws // estimator.nfe(0)))

    def gradient(x: Tensor) -> Tensor:
        grads = [estimator(x, problem.cond, rng=Streams(config.seed, [(0, k)] * len(x))).grad for k in draws]
        return torch.stack(grads).mean(0)

    return survey(gradient, nodes(config), nodes(config))


def landscape_panel(config: LabConfig, problem: Problem, found: Landscape) -> tuple[Panel, dict[str, float]]:
    """The landscape as a picture and as numbers.

    ``minima``; ``phantom_minima``: those farther than the landscape's bandwidth from every mode of the density smoothed
    as much; ``modes_without_minimum``; ``rotation``: the share of the field that is no gradient.
    """
    wide = config.landscape_bandwidth
    inside = true_modes(problem.density, wide)
    inside = inside[(inside.abs() < config.box).all(1)]
    told = compare(found.minima, inside, wide)
    near = ((found.minima[:, None] - inside).norm(dim=-1) <= wide).any(1)
    marks = {"true modes": inside, "minima at a mode": found.minima[near]}
    panel = Panel(
        f"what {config.method} descends", heights=found.potential, marks=marks | {"phantom minima": told.phantom}
    )
    return panel, {
        "minima": float(len(found.minima)),
        "phantom_minima": float(len(told.phantom)),
        "modes_without_minimum": float(len(told.missed)),
        "rotation": found.residual if math.isnan(found.residual_limit) else found.residual_limit,
    }
