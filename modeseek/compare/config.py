"""What a comparison is told. Imports no torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

import tyro

from modeseek.compare.prompts import read_prompts, shipped
from modeseek.config import DType, Preset
from modeseek.errors import UsageError
from modeseek.methods import ESTIMATORS
from modeseek.planar import unknown

Protocol = Literal["paper2d", "playground2d"]
REFERENCE_SEED = 1_000_000  # added to the seeds of the reference, so that it shares none with a method


@dataclass(frozen=True)
class Contender:
    """A method and the preset of its settings, written ``msd`` or ``msd:paper``.

    Attributes:
        method: name of an estimator, or "ddim" and "reference" for the two sets of samples.
        preset: None is the protocol's choice.
        options: of ``ImageConfig``, where they differ from protocol and preset; experiments set them.
        label: its name where it has options.
    """

    method: str
    preset: Preset | None = None
    options: tuple[tuple[str, Any], ...] = ()
    label: str = ""

    def __str__(self) -> str:
        return self.label or (self.method if self.preset is None else f"{self.method}:{self.preset}")

    @classmethod
    def parse(cls, text: str) -> Contender:
        """From its written form.

        Raises:
            UsageError: for an unknown method or preset.
        """
        method, _, preset = text.strip().partition(":")
        if method not in ESTIMATORS:
            raise unknown("methods", method, tuple(ESTIMATORS))
        if preset and preset not in get_args(Preset):
            raise UsageError(f"a method's preset must be one of {', '.join(get_args(Preset))}, got {text!r}")
        return cls(method, preset or None)  # type: ignore[arg-type]


@dataclass(frozen=True)
class CompareConfig:
    """Run methods side by side on the same prompts, seeds and generators. Continues where it was stopped."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    prompts: Path | None = None
    """Text file, one prompt a line; twenty names for the shipped model, ten sentences for another if not given."""
    methods: str = "sds,vsd,sdi,msd"
    """Which, with commas; msd:paper takes the settings of a preset instead of the protocol's."""
    seeds: str = "0-3"
    """Which, as 0-3 or 0,5,7: every method makes one picture of every prompt with every seed."""
    protocol: Protocol = "paper2d"
    """paper2d: coordinate network, Adam 1e-2, 400 steps; playground2d: raw latents, Adam 1e-1, 1001 steps."""
    out: Path = Path("modeseek-runs/compare")
    """Folder of the cells and the report."""
    prior: str = "pocket"
    """Pipeline directory, hub id, or "pocket" for the shipped model."""
    guidance: Annotated[float | None, tyro.conf.arg(aliases=["--guidance-scale"])] = None
    """Guidance scale of all methods and of DDIM; the protocol's if not given: 7.5 as each source means it."""
    steps: int | None = None
    """Optimiser steps; the protocol's if not given."""
    refresh_every: int | None = None
    """Optimiser steps that share one target of msd and sdi; the method's own if not given."""
    ddim_steps: int = 32
    """Of the reference samples."""
    features: str = "pocket-clip"
    """Features of the distances: pocket-clip, or a directory or file, see docs/metrics.md."""
    clip: str = "pocket-clip"
    """Model of the image-text similarity: pocket-clip, or a directory of a CLIP model."""
    dimensions: int = 64
    """Principal components of the reference that features are reduced to; 0 keeps all."""
    snapshots: int = 16
    """Points of the curves over a run."""
    batch: int = 20
    """Pictures that travel together."""
    device: str = "cpu"
    """Where the model runs."""
    dtype: DType = "float32"
    """Of the model's weights."""
    network_batch: int | None = None
    """Rows that the network sees at once; all if not given. This and the next three leave results as they are."""
    vae_slicing: bool = False
    """The autoencoder works on one picture at a time."""
    encoder_checkpointing: bool = False
    """The encoder's activations are computed again for the gradient instead of kept."""
    offload_text: bool = False
    """The text encoders stay on the CPU."""
    threads: int = 0
    """CPU threads; 0 leaves it to torch."""
    dry_run: bool = False
    """Say what it would cost and stop."""

    def __post_init__(self) -> None:
        for name in ("steps", "refresh_every", "ddim_steps", "snapshots", "batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, got {value}")
        if self.threads < 0 or self.dimensions < 0:
            raise UsageError(f"threads and dimensions must be at least 0, got {self.threads} and {self.dimensions}")
        if self.out.exists() and not self.out.is_dir():
            raise UsageError(f"out must be a folder, got the file {self.out}")
        self.contenders(), self.chosen_seeds(), self.texts()

    def contenders(self) -> tuple[Contender, ...]:
        """The methods, parsed.

        Raises:
            UsageError: if one is unknown or stands twice, or there is none.
        """
        found = tuple(Contender.parse(word) for word in self.methods.split(",") if word.strip())
        if not found or len(set(found)) < len(found):
            raise UsageError(f"methods must name at least one method and none twice, got {self.methods!r}")
        return found

    def chosen_seeds(self) -> tuple[int, ...]:
        """The seeds, parsed.

        Raises:
            UsageError: if the text is neither numbers nor ranges, or one stands twice.
        """
        seeds: list[int] = []
        for word in self.seeds.split(","):
            ends = re.fullmatch(r"(\d+)(?:-(\d+))?", word.strip())
            first, last = (int(ends[1]), int(ends[2] or ends[1])) if ends else (1, 0)
            if last < first:
                raise UsageError(f"seeds must be numbers or rising ranges like 0-3 or 0,5,7, got {self.seeds!r}")
            seeds += range(first, last + 1)
        if len(set(seeds)) < len(seeds):
            raise UsageError(f"seeds must not repeat, got {self.seeds!r}")
        if max(seeds) >= REFERENCE_SEED:
            raise UsageError(f"seeds must be below {REFERENCE_SEED}, where the reference's begin, got {self.seeds!r}")
        return tuple(seeds)

    def texts(self) -> tuple[str, ...]:
        """The prompts.

        Raises:
            UsageError: see ``read_prompts``.
        """
        return shipped(self.prior) if self.prompts is None else read_prompts(self.prompts)
