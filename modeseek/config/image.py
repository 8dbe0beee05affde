"""What ``modeseek image`` is told. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any, ClassVar, Literal

import tyro

from modeseek.config.gradient import GradientConfig, check_counts, check_positive, check_prompts
from modeseek.config.settings import SQRT2, MethodPresets, Preset, Settings
from modeseek.errors import UsageError
from modeseek.methods import EstimatorName

GeneratorName = Literal["mlp", "pixels", "latents"]

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
        kernel_high=inf,
        max_eps=inf,
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
        kernel_high=inf,
        max_eps=inf,
        time="uniform",
        time_low=0.02,
        weighting="sigma2",
        inversion_guidance=-2.0,  # as far below 1 as the guidance is above
    ),
}


# a target of sds is one noisy look and is not worth a second step; quick: the evaluations of msd's quick
SDS_PRESETS: dict[Preset, Settings] = {
    "paper": replace(PRESETS["paper"], refresh_every=1),
    "quick": replace(PRESETS["quick"], refresh_every=1, steps=300),
}

# guidance: Wang et al.; quick: as many evaluations again, two of the model and one of the LoRA a step
VSD_PRESETS: dict[Preset, Settings] = {
    "paper": replace(SDS_PRESETS["paper"], guidance=7.5),
    "quick": replace(SDS_PRESETS["quick"], steps=200),
}

# Lukoianov et al.; quick: as many evaluations again
SDI: dict[str, Any] = {"time": "linear", "time_low": 0.25, "weighting": "x0"}
SDI_PRESETS: dict[Preset, Settings] = {
    "paper": replace(PRESETS["paper"], refresh_every=1, **SDI),
    "quick": replace(PRESETS["quick"], refresh_every=12, **SDI),
}

METHOD_PRESETS: dict[EstimatorName, dict[Preset, Settings]] = {
    "sds": SDS_PRESETS,
    "vsd": VSD_PRESETS,
    "sdi": SDI_PRESETS,
    "msd": PRESETS,
}


@dataclass(frozen=True)
class ImageConfig(GradientConfig):
    """Drive a differentiable image to a mode of a text-to-image model."""

    presets: ClassVar[MethodPresets] = METHOD_PRESETS
    prompts: tyro.conf.Positional[tuple[str, ...]]
    """One picture (--particles of them) for each prompt; they run as one batch."""
    particles: int = 1
    """Pictures per prompt; vsd keeps them apart."""
    generator: GeneratorName = "mlp"
    """What is optimised: a coordinate network, pixels, or the latent itself."""
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

    def __post_init__(self) -> None:
        check_prompts(self.prompts)
        check_counts(self, ("particles", "mlp_features", "mlp_width", "mlp_layers"))
        check_positive(self, ("mlp_bandwidth",))
        super().__post_init__()
        if self.loss == "image" and self.generator == "latents":
            raise UsageError("loss image must have a generator of pictures, got latents")
        if self.posterior == "sample" and self.generator == "latents":
            raise UsageError("posterior sample must have a generator of pictures, got latents")
