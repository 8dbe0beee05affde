"""The options of every run that follows a model's gradient: model, method, memory, run directory. Imports no torch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args

import tyro

from modeseek.config.settings import DEFAULT, USUAL_GUIDANCE, MethodPresets, Preset, Settings
from modeseek.errors import UsageError
from modeseek.methods import (
    Clock,
    EstimatorName,
    Fresh,
    Loss,
    Pairing,
    Posterior,
    ProductOptions,
    ProductSamplerName,
    Start,
    Weighting,
)
from modeseek.schedules import Anneal, Shape, Time, TimeShape, Uniform

DType = Literal["float32", "float16", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class GradientConfig:
    """What runs of images and of scenes are told alike; ``None`` means: as the preset says."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
    presets: ClassVar[MethodPresets]  # of each method

    out: Path | None = None
    """Run directory. A new folder under modeseek-runs if not given."""
    overwrite: bool = False
    """Replace the run directory if it exists."""
    prior: str = "pocket"
    """Pipeline directory, hub id, or "pocket" for the shipped model."""
    preset: Preset | None = None
    """Where unset options come from: quick, this project's own, or paper, at 64 times the evaluations."""
    method: EstimatorName = "msd"
    """Gradient estimator."""
    sampler: ProductSamplerName | None = None
    """Product sampler of msd."""
    seed: int = 0
    """Of everything that is drawn."""
    steps: int | None = None
    """Optimiser steps."""
    lr: float | None = None
    """Adam's learning rate."""
    guidance: Annotated[float | None, tyro.conf.arg(aliases=["--guidance-scale"])] = None
    """Guidance scale: x0 = uncond + guidance * (cond - uncond); 1 is off. The paper's w is guidance - 1."""
    negative: str = ""
    """Prompt of the unconditional branch."""
    guidance_low: float = 0.0
    """Guidance acts only at noise levels sigma from here"""
    guidance_high: float = math.inf
    """up to here."""
    sample_steps: int | None = None
    """Steps of the product sampler."""
    bandwidth_start: float | None = None
    """Kernel standard deviation at the first step; the paper's lambda / sqrt(2)."""
    bandwidth_end: float | None = None
    """Kernel standard deviation at which the run ends."""
    bandwidth_shape: Shape | None = None
    """How it falls."""
    refresh_every: int | None = None
    """Optimiser steps that share one target."""
    n_samples: int = 1
    """Product samples averaged into one target."""
    start: Start | None = None
    """Where the product sampler starts: at x, or at the posterior mean D(x; bandwidth)."""
    kernel_low: float | None = None
    """The kernel acts only at noise levels sigma from here"""
    kernel_high: float | None = None
    """up to here."""
    clock: Clock = "sigma"
    """Units of the exponential samplers' contraction."""
    data_variance: float = 1.0
    """Variance of the clean latents per element, for proximal and gibbs."""
    sweeps: int = 8
    """Sweeps of gibbs."""
    max_eps: float | None = None
    """Cap on an inversion's noise, in units of unit noise; inf is none."""
    printed_start: bool = False
    """Start exponential_inverted with the paper's printed mix."""
    time: TimeShape | None = None
    """Timesteps of sds, vsd and sdi: drawn for each picture (uniform), or falling over the run (linear, sqrt),"""
    time_low: float | None = None
    """as fractions of the table: from this"""
    time_high: float = 0.98
    """to this; a falling time goes from the second to the first."""
    time_drop: tuple[int, float] | None = None
    """A step, and the upper end of drawn times from that step on; ProlificDreamer's is 0.5."""
    weighting: Weighting | None = None
    """Weight of sds, vsd and sdi over noise levels: s^2, 1, sqrt(abar) (1 - abar), or that of x - x0."""
    loss: Loss = "latent"
    """Where sds compares: latents, or the picture with the decoded x0."""
    posterior: Posterior = "mean"
    """What the encoder makes of a picture: the mean of its latents, or a sample at every step."""
    lora_rank: int = 4
    """Rank of the LoRA that vsd trains on the pictures,"""
    lora_lr: float = 1e-4
    """Adam's learning rate for it,"""
    lora_steps: int = 1
    """and its steps for each of the picture's: a forward and a backward pass each, not counted as evaluations."""
    inversion_steps: int = 10
    """Steps of sdi's inversion at the largest level."""
    inversion_guidance: float | None = None
    """Guidance scale of sdi's inversion, usually negative."""
    inversion_eta: float = 0.3
    """Share of fresh noise in sdi's inversion: 0 is deterministic, 1 no inversion."""
    inversion_start: float | None = None
    """Noise level at which sdi takes the picture to be; the model's smallest if not given."""
    inversion_noise: Fresh = "exchanged"
    """Fresh noise in sdi's inversion: in exchange for a part of the step, or added to it as the public code does."""
    pairing: Pairing = "remapped"
    """Timestep that sdi asks at: the inversion's own, or the public code's, up to T / steps below it."""
    size: int | None = None
    """Side of the picture in pixels; the model's own if not given."""
    device: str = "cpu"
    """Where the model runs."""
    dtype: DType = "float32"
    """Of the model's weights."""
    network_batch: int | None = None
    """Rows that the network sees at once, two for a guided picture; all of them if not given. See docs/memory.md."""
    vae_slicing: bool = False
    """One picture at a time through the autoencoder."""
    vae_tiling: bool = False
    """Pictures larger than the autoencoder's own size in tiles; the one of these options that changes the result."""
    encoder_checkpointing: bool = False
    """Compute the encoder's inner activations again for the gradient instead of keeping them."""
    offload_text: bool = False
    """Text encoders on the CPU."""
    threads: int = 0
    """CPU threads; 0 leaves it to torch."""
    picture_every: int = 10
    """Steps between pictures."""
    checkpoint_every: int = 50
    """Steps between checkpoints."""

    def __post_init__(self) -> None:
        _check(self)

    @property
    def settings(self) -> Settings:
        """The preset's settings, with what the configuration says put in."""
        given = {f.name: getattr(self, f.name) for f in dataclasses.fields(Settings)}
        name = self.preset or DEFAULT
        preset = self.presets[self.method][name]
        if name == "quick" and self.prior != "pocket":
            preset = dataclasses.replace(preset, guidance=USUAL_GUIDANCE, inversion_guidance=2 - USUAL_GUIDANCE)
        if self.guidance == 1:  # off, and so in the inversion
            preset = dataclasses.replace(preset, inversion_guidance=1.0)
        return dataclasses.replace(preset, **{k: v for k, v in given.items() if v is not None})


Config = TypeVar("Config", bound=GradientConfig)


def _check(c: GradientConfig) -> None:
    """Refuse what cannot run, before anything is loaded."""
    if c.method not in get_args(EstimatorName):
        raise UsageError(f"method must be one of {', '.join(get_args(EstimatorName))}, got {c.method!r}")
    counts: tuple[str, ...] = ("steps", "sample_steps", "refresh_every", "n_samples", "sweeps", "size")
    counts += ("inversion_steps", "picture_every", "checkpoint_every", "lora_rank", "lora_steps", "network_batch")
    check_counts(c, counts)
    check_positive(c, ("lr", "bandwidth_start", "bandwidth_end", "data_variance", "lora_lr"))
    if c.max_eps is not None and not c.max_eps > 0:
        raise UsageError(f"max_eps must be positive, got {c.max_eps}")
    for name in ("guidance", "inversion_guidance"):
        value = getattr(c, name)
        if value is not None and not math.isfinite(value):
            raise UsageError(f"{name} must be finite, got {value}")
    if not 0 <= c.inversion_eta <= 1:
        raise UsageError(f"inversion_eta must be in [0, 1], got {c.inversion_eta}")
    if c.inversion_start is not None and not 0 <= c.inversion_start < math.inf:
        raise UsageError(f"inversion_start must be finite and at least 0, got {c.inversion_start}")
    if c.bandwidth_start is not None and c.bandwidth_end is not None and c.bandwidth_start < c.bandwidth_end:
        raise UsageError(f"bandwidth_start must be at least bandwidth_end, got {c.bandwidth_start} < {c.bandwidth_end}")
    if not 0 <= (0.0 if c.time_low is None else c.time_low) <= c.time_high <= 1:
        raise UsageError(f"0 <= time_low <= time_high <= 1 must hold, got {c.time_low} and {c.time_high}")
    if not 0 <= c.guidance_low < c.guidance_high:
        raise UsageError(f"0 <= guidance_low < guidance_high must hold, got {c.guidance_low} and {c.guidance_high}")
    if not 0 <= (c.kernel_low or 0.0) < (math.inf if c.kernel_high is None else c.kernel_high):
        raise UsageError(f"0 <= kernel_low < kernel_high must hold, got {c.kernel_low} and {c.kernel_high}")
    if c.threads < 0:
        raise UsageError(f"threads must be at least 0, got {c.threads}")
    if c.method != "msd":
        times(c)
    if c.loss == "image" and c.method != "sds":
        raise UsageError(f"loss image is a choice of sds, got it for {c.method}")


def check_prompts(prompts: Sequence[str]) -> None:
    """Refuse a prompt without a word.

    Raises:
        UsageError: if one is empty, or there is none.
    """
    if not prompts or any(not p.strip() for p in prompts):
        raise UsageError(f"every prompt must hold at least one word, got {list(prompts)}")


def check_counts(config: object, names: Sequence[str]) -> None:
    """Refuse options below 1; None is left to the preset.

    Raises:
        UsageError: naming the option.
    """
    for name in names:
        value = getattr(config, name)
        if value is not None and value < 1:
            raise UsageError(f"{name} must be at least 1, got {value}")


def check_positive(config: object, names: Sequence[str]) -> None:
    """Refuse options that are not positive and finite; None is left to the preset.

    Raises:
        UsageError: naming the option.
    """
    for name in names:
        value = getattr(config, name)
        if value is not None and not 0 < value < math.inf:
            raise UsageError(f"{name} must be positive and finite, got {value}")


def times(c: GradientConfig) -> Time:
    """When sds, vsd and sdi look at which timesteps; a falling time is as long as the run.

    Raises:
        UsageError: if its ends do not fit, or a falling time is told to drop.
    """
    settings = c.settings
    if settings.time == "uniform":
        return Uniform(settings.time_low, c.time_high, c.time_drop)
    if c.time_drop is not None:
        raise UsageError(f"time_drop is a choice of uniform times, got it for {settings.time}")
    # the last target is drawn at the end of the schedule
    return Anneal(c.time_high, settings.time_low, settings.last_target + 1, settings.time)


def resolve(config: Config) -> Config:
    """The configuration with every unset option taken from its preset: what a run's config.yaml holds."""
    preset = config.preset or DEFAULT
    return dataclasses.replace(config, preset=preset, **dataclasses.asdict(config.settings))


def product_options(config: GradientConfig) -> ProductOptions:
    """The part of a configuration that product samplers read."""
    settings = config.settings
    return ProductOptions(
        start=settings.start,
        low=settings.kernel_low,
        high=settings.kernel_high,
        clock=config.clock,
        data_variance=config.data_variance,
        sweeps=config.sweeps,
        max_eps=settings.max_eps,
        printed_start=config.printed_start,
    )
