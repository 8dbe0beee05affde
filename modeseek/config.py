"""What a run is told, as frozen dataclasses: the command line derives its flags from them, a run keeps them as YAML.

Imports no torch, so that ``--help`` answers at once. ``None`` means: as the preset says. A run's ``config.yaml`` is the
resolved configuration, without any ``None`` that a preset could fill.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args

import tyro

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

Config = TypeVar("Config")
Preset = Literal["quick", "paper"]
GeneratorName = Literal["mlp", "pixels", "latents"]
DType = Literal["float32", "float16", "bfloat16"]


@dataclass(frozen=True)
class ImageConfig:
    """Drive a differentiable image to a mode of a text-to-image model."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    prompts: tyro.conf.Positional[tuple[str, ...]]
    """One picture (--particles of them) for each prompt; they run as one batch."""
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
    particles: int = 1
    """Pictures per prompt; vsd keeps them apart."""
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
    generator: GeneratorName = "mlp"
    """What is optimised: a coordinate network, pixels, or the latent itself."""
    size: int | None = None
    """Side of the picture in pixels; the model's own if not given."""
    init: Path | None = None
    """Start from this picture."""
    mlp_features: int = 128
    """Fourier frequencies of the coordinate network."""
    mlp_bandwidth: float | None = None
    """Their standard deviation, in cycles per picture; a twentieth of its pixels if not given."""
    mlp_width: int = 64
    """Width of its hidden layers."""
    mlp_layers: int = 2
    """Number of its hidden layers."""
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


def _check(c: ImageConfig) -> None:
    """Refuse what cannot run, before anything is loaded."""
    if not c.prompts or any(not p.strip() for p in c.prompts):
        raise UsageError(f"every prompt must hold at least one word, got {list(c.prompts)}")
    if c.method not in get_args(EstimatorName):
        raise UsageError(f"method must be one of {', '.join(get_args(EstimatorName))}, got {c.method!r}")
    counts: tuple[str, ...] = ("steps", "sample_steps", "refresh_every", "n_samples", "sweeps", "size")
    counts += ("inversion_steps", "picture_every", "checkpoint_every", "mlp_features", "mlp_width", "mlp_layers")
    counts += ("particles", "lora_rank", "lora_steps", "network_batch")
    for name in counts:
        value = getattr(c, name)
        if value is not None and value < 1:
            raise UsageError(f"{name} must be at least 1, got {value}")
    for name in ("lr", "bandwidth_start", "bandwidth_end", "data_variance", "mlp_bandwidth", "lora_lr"):
        value = getattr(c, name)
        if value is not None and not 0 < value < math.inf:
            raise UsageError(f"{name} must be positive and finite, got {value}")
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
    _check_choices(c)


def _check_choices(c: ImageConfig) -> None:
    """Refuse options that exclude each other."""
    if c.method != "msd":
        times(c)
    if c.loss == "image" and c.method != "sds":
        raise UsageError(f"loss image is a choice of sds, got it for {c.method}")
    if c.loss == "image" and c.generator == "latents":
        raise UsageError("loss image must have a generator of pictures, got latents")
    if c.posterior == "sample" and c.generator == "latents":
        raise UsageError("posterior sample must have a generator of pictures, got latents")


def times(c: ImageConfig) -> Time:
    """When sds, vsd and sdi look at which timesteps; a falling time is as long as the run.

    Raises:
        UsageError: if its ends do not fit, or a falling time is told to drop.
    """
    settings = Settings.of(c)
    if settings.time == "uniform":
        return Uniform(settings.time_low, c.time_high, c.time_drop)
    if c.time_drop is not None:
        raise UsageError(f"time_drop is a choice of uniform times, got it for {settings.time}")
    # the last target is drawn at the end of the schedule
    return Anneal(c.time_high, settings.time_low, settings.last_target + 1, settings.time)


SQRT2 = math.sqrt(2.0)
DEFAULT: Preset = "quick"
USUAL_GUIDANCE = 7.5  # of quick on any other model than the shipped one, which takes 4


@dataclass(frozen=True)
class Settings:
    """The options that a preset sets, all of them known."""

    sampler: ProductSamplerName
    steps: int
    lr: float
    guidance: float
    sample_steps: int
    bandwidth_start: float
    bandwidth_end: float
    bandwidth_shape: Shape
    refresh_every: int
    start: Start
    kernel_low: float
    kernel_high: float
    max_eps: float
    time: TimeShape
    time_low: float
    weighting: Weighting
    inversion_guidance: float

    @property
    def last_target(self) -> int:
        """The step at which the last target is drawn."""
        return (self.steps - 1) // self.refresh_every * self.refresh_every

    @classmethod
    def of(cls, config: ImageConfig) -> Settings:
        """The preset's settings, with what the configuration says put in."""
        given = {f.name: getattr(config, f.name) for f in dataclasses.fields(cls)}
        name = config.preset or DEFAULT
        preset = METHOD_PRESETS[config.method][name]
        if name == "quick" and config.prior != "pocket":
            preset = dataclasses.replace(preset, guidance=USUAL_GUIDANCE, inversion_guidance=2 - USUAL_GUIDANCE)
        if config.guidance == 1:  # off, and so in the inversion
            preset = dataclasses.replace(preset, inversion_guidance=1.0)
        return dataclasses.replace(preset, **{k: v for k, v in given.items() if v is not None})


PRESETS: dict[Preset, Settings] = {
    "paper": Settings(
        sampler="exponential_inverted",
        steps=400,
        lr=1e-2,
        guidance=8.5,  # 1 + 7.5, equation MSD-13
        sample_steps=32,
        bandwidth_start=1e3 / SQRT2,
        bandwidth_end=1e-2 / SQRT2,
        bandwidth_shape="geometric",
        refresh_every=1,
        start="x",
        kernel_low=0.0,
        kernel_high=math.inf,
        max_eps=math.inf,
        time="uniform",
        time_low=0.02,  # DreamFusion
        weighting="sigma2",
        inversion_guidance=-6.5,  # 1 - 7.5
    ),
    "quick": Settings(
        sampler="proximal",  # no inversion, no noise of its own: see docs/compare.md
        steps=400,
        lr=1e-2,
        guidance=4.0,
        sample_steps=12,
        bandwidth_start=3.0,
        bandwidth_end=0.2,
        bandwidth_shape="geometric",
        refresh_every=16,  # a target is worth as many steps; more targets change nothing
        start="x",
        kernel_low=0.0,
        kernel_high=math.inf,
        max_eps=math.inf,
        time="uniform",
        time_low=0.02,
        weighting="sigma2",
        inversion_guidance=-2.0,  # as far below 1 as the guidance is above
    ),
}


# a target of sds is one noisy look and is not worth a second step; quick: the evaluations of msd's quick
SDS_PRESETS: dict[Preset, Settings] = {
    "paper": dataclasses.replace(PRESETS["paper"], refresh_every=1),
    "quick": dataclasses.replace(PRESETS["quick"], refresh_every=1, steps=300),
}

# guidance: Wang et al.; quick: as many evaluations again, two of the model and one of the LoRA a step
VSD_PRESETS: dict[Preset, Settings] = {
    "paper": dataclasses.replace(SDS_PRESETS["paper"], guidance=7.5),
    "quick": dataclasses.replace(SDS_PRESETS["quick"], steps=200),
}

# Lukoianov et al.; quick: as many evaluations again
SDI: dict[str, Any] = {"time": "linear", "time_low": 0.25, "weighting": "x0"}
SDI_PRESETS: dict[Preset, Settings] = {
    "paper": dataclasses.replace(PRESETS["paper"], refresh_every=1, **SDI),
    "quick": dataclasses.replace(PRESETS["quick"], refresh_every=12, **SDI),
}

METHOD_PRESETS: dict[EstimatorName, dict[Preset, Settings]] = {
    "sds": SDS_PRESETS,
    "vsd": VSD_PRESETS,
    "sdi": SDI_PRESETS,
    "msd": PRESETS,
}


def resolve(config: ImageConfig) -> ImageConfig:
    """The configuration with every unset option taken from its preset: what a run's config.yaml holds."""
    preset = config.preset or DEFAULT
    return dataclasses.replace(config, preset=preset, **dataclasses.asdict(Settings.of(config)))


def product_options(config: ImageConfig) -> ProductOptions:
    """The part of a configuration that product samplers read."""
    settings = Settings.of(config)
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


@dataclass(frozen=True)
class SampleConfig:
    """Draw DDIM samples of a text-to-image model, for comparison."""

    prompts: tyro.conf.Positional[tuple[str, ...]]
    """One sample for each prompt."""
    out: Path | None = None
    """Picture to write: one sheet, one row per prompt. A new one under modeseek-runs if not given."""
    prior: str = "pocket"
    """Pipeline directory, hub id, or "pocket" for the shipped model."""
    n: int = 1
    """Samples per prompt."""
    seed: int = 0
    """Of the noise."""
    steps: int = 32
    """DDIM steps."""
    guidance: Annotated[float, tyro.conf.arg(aliases=["--guidance-scale"])] = 4.0
    """Guidance scale; 1 is off."""
    negative: str = ""
    """Prompt of the unconditional branch."""
    eta: float = 0.0
    """Share of fresh noise: 0 is deterministic, 1 ancestral."""
    device: str = "cpu"
    """Where the model runs."""
    dtype: DType = "float32"
    """Of the model's weights."""

    def __post_init__(self) -> None:
        if not self.prompts or any(not p.strip() for p in self.prompts):
            raise UsageError(f"every prompt must hold at least one word, got {list(self.prompts)}")
        if self.n < 1 or self.steps < 1:
            raise UsageError(f"n and steps must be at least 1, got {self.n} and {self.steps}")
        if not math.isfinite(self.guidance):
            raise UsageError(f"guidance must be finite, got {self.guidance}")
        if self.out is not None and self.out.suffix.lower() != ".png":
            raise UsageError(f"out must be the name of a .png file, got {self.out}")
        if not 0 <= self.eta <= 1:
            raise UsageError(f"eta must be in [0, 1], got {self.eta}")


def to_yaml(config: Any) -> str:
    """A configuration as YAML, reloadable with ``from_yaml``."""
    import yaml

    plain = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    plain = {k: list(v) if isinstance(v, tuple) else str(v) if isinstance(v, Path) else v for k, v in plain.items()}
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)


def mapping(text: str, source: str) -> dict[str, Any]:
    """The options that YAML holds.

    Raises:
        UsageError: if it is no YAML, or no mapping.
    """
    import yaml

    try:
        loaded = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{source} must be YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(loaded, dict):
        raise UsageError(f"{source} must hold a mapping of options, got {type(loaded).__name__}")
    return loaded


def from_yaml(text: str, source: str, kind: type[Config]) -> Config:
    """A configuration of a kind from YAML.

    Raises:
        UsageError: naming the key that is unknown or wrong, and ``source``.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(mapping(text, source))
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:  # from _check, which names the key itself
            raise UsageError(f"{source}: {first['msg'].removeprefix('Value error, ')}") from error
        key, got = ".".join(map(str, first["loc"])), "" if first["type"] == "missing" else f", got {first['input']!r}"
        raise UsageError(f"{source}, key {key}: {first['msg']}{got}") from error
