"""What a run in the plane is told, as frozen dataclasses. Imports no torch, so that ``--help`` answers at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import tyro

from modeseek.errors import UsageError
from modeseek.methods import ProductSamplerName, Start, Weighting
from modeseek.schedules import Shape

LabMethod = Literal["ddim", "sds", "vsd", "sdi", "msd"]
DenoiserName = Literal["exact", "ideal", "learned"]
GuidanceName = Literal["none", "cfg", "autoguidance"]
Levels = Literal["uniform", "vp", "karras"]
AuxiliaryName = Literal["particles", "trained"]

PAPER_BANDWIDTH = 0.316 / math.sqrt(2.0)  # the paper's lambda is sqrt(2) times the standard deviation


@dataclass(frozen=True)
class LabConfig:
    """Move points in the plane to the modes of a density that is known exactly, and draw it."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    set: tyro.conf.Positional[str]
    """A 2D set, one of scikit-image's pictures, or a picture file."""
    out: Path | None = None
    """Run directory. A new folder under modeseek-runs if not given."""
    overwrite: bool = False
    """Replace the run directory if it exists."""
    method: LabMethod = "msd"
    """Gradient estimator; ddim draws samples instead, as the reference."""
    sampler: ProductSamplerName = "posterior_mean"
    """Product sampler of msd."""
    denoiser: DenoiserName = "ideal"
    """exact: of the density itself; ideal: of a finite data set drawn from it; learned: a small network."""
    guidance: GuidanceName = "none"
    """cfg: towards the class, away from all classes; autoguidance: away from a smaller, less trained network."""
    guidance_scale: float = 4.0
    """1 is off."""
    guidance_low: float = 0.0
    """Guidance acts from this level on,"""
    guidance_high: float = math.inf
    """up to this one."""
    label: int | None = None
    """Class to seek, in sets that have classes; the set's own choice if not given."""
    seed: int = 0
    """Of the data and of everything drawn."""
    points: int = 32
    """Points start on a square grid of so many a side; ddim draws as many samples."""
    box: float = 1.5
    """Half the side of that grid."""
    steps: int = 150
    """Optimiser steps."""
    lr: float = 0.08
    """Learning rate of Adam."""
    bandwidth_start: float = PAPER_BANDWIDTH
    """Kernel standard deviation at the first step,"""
    bandwidth_end: float = 0.02
    """and at the last."""
    bandwidth_shape: Shape = "linear"
    """How it falls."""
    n_samples: int = 1
    """Product samples per point and step."""
    sample_steps: int = 32
    """Steps of a sampler."""
    sigma_min: float = 0.002
    """Smallest level of the grid,"""
    sigma_max: float = 5.0
    """and largest."""
    start: Start = "posterior_mean"
    """Where product sampling starts."""
    kernel_low: float = 0.0
    """The kernel acts from this level on,"""
    kernel_high: float = math.inf
    """up to this one."""
    sweeps: int = 8
    """Sweeps of gibbs."""
    data: int = 10_000
    """Size of the data set behind the ideal denoiser."""
    levels: Levels = "uniform"
    """Noise levels of sds, vsd and sdi: uniform in sigma, Stable Diffusion's, or the sampler's."""
    time_low: float = 0.02
    """Their time range, as fractions: from this"""
    time_high: float = 0.98
    """to this; sdi anneals from the second to the first."""
    weighting: Weighting = "sigma2"
    """Weight of sds and vsd over noise levels."""
    auxiliary: AuxiliaryName = "particles"
    """Score of the points that vsd subtracts: in closed form, or of a small network trained on them."""
    smoothing: float = 0.0
    """Standard deviation of a kernel on the particles."""
    inversion_steps: int = 10
    """Of sdi, at the largest level."""
    eta: float = 0.3
    """Share of fresh noise in sdi's inversion."""
    sigma_start: float = 0.1
    """Level at which inversions start: of the order of the distance to the data."""
    max_eps: float = 1.0
    """Cap on the inversion's predicted noise, root mean square."""
    landscape: bool = True
    """Draw the function that the method descends, and count its minima."""
    landscape_bandwidth: float = 0.05
    """At this bandwidth of msd; the true modes are those of the density smoothed as much."""
    field: int = 81
    """Side of the grid on which the gradient is measured."""
    field_draws: int = 64
    """Draws of noise that it is the mean of, the same for all its points; fewer where a draw takes many evaluations."""
    threads: int = 0
    """CPU threads; 0 leaves it to torch."""
    picture_every: int = 15
    """Steps between pictures."""
    checkpoint_every: int = 50
    """Steps between checkpoints."""

    def __post_init__(self) -> None:
        _check(self)

    @property
    def noiseless(self) -> bool:
        """Whether the method draws nothing, so that one gradient tells all."""
        return self.method == "msd" and self.sampler == "posterior_mean"


WIDE = ("landscape_bandwidth",)


def _check(c: LabConfig) -> None:
    """Refuse what cannot run, before anything is computed."""
    counts = ("points", "steps", "n_samples", "sample_steps", "sweeps", "data", "inversion_steps", "picture_every")
    for name in (*counts, "checkpoint_every", "field_draws"):
        if getattr(c, name) < 1:
            raise UsageError(f"{name} must be at least 1, got {getattr(c, name)}")
    for name in ("lr", "box", "bandwidth_start", "bandwidth_end", "sigma_min", "sigma_max", "sigma_start", *WIDE):
        if not 0 < getattr(c, name) < math.inf:
            raise UsageError(f"{name} must be positive and finite, got {getattr(c, name)}")
    if c.bandwidth_start < c.bandwidth_end:
        raise UsageError(f"bandwidth_start must be at least bandwidth_end, got {c.bandwidth_start} < {c.bandwidth_end}")
    if c.sigma_min >= c.sigma_max:
        raise UsageError(f"sigma_min must be below sigma_max, got {c.sigma_min} and {c.sigma_max}")
    if not 0 <= c.time_low <= c.time_high <= 1:
        raise UsageError(f"0 <= time_low <= time_high <= 1 must hold, got {c.time_low} and {c.time_high}")
    for name in ("guidance", "kernel"):
        low, high = getattr(c, f"{name}_low"), getattr(c, f"{name}_high")
        if not 0 <= low < high:
            raise UsageError(f"0 <= {name}_low < {name}_high must hold, got {low} and {high}")
    if not math.isfinite(c.guidance_scale):
        raise UsageError(f"guidance_scale must be finite, got {c.guidance_scale}")
    if not 0 <= c.eta <= 1:
        raise UsageError(f"eta must be in [0, 1], got {c.eta}")
    if not 0 <= c.smoothing < math.inf:
        raise UsageError(f"smoothing must be at least 0, got {c.smoothing}")
    if not c.max_eps > 0:
        raise UsageError(f"max_eps must be positive, got {c.max_eps}")
    if c.field < 5:
        raise UsageError(f"field must be at least 5, got {c.field}")
    if c.points**2 < 4:
        raise UsageError(f"points must be at least 2 a side, since precision and recall need 4 points, got {c.points}")
    if c.threads < 0:
        raise UsageError(f"threads must be at least 0, got {c.threads}")
