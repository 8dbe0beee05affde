"""What a reproduction is told. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import tyro

from modeseek.compare.config import CompareConfig
from modeseek.config import DType
from modeseek.errors import UsageError

Planar = Literal["table1", "table2", "figure1", "figure3"]
Images = Literal["table3", "table4", "figure6", "ablation"]
Scenes = Literal["reconstruction", "solids", "scenes"]  # of three dimensions; the first two without a model
# table3: 160 pictures a method with twenty prompts
SEEDS = {"table3": 8, "table4": 1, "figure6": 1, "ablation": 1, "scenes": 1, "reconstruction": 1, "solids": 8}
OF_IMAGES: tuple[str, ...] = ("prior", "prompts", "features", "clip", "device", "dtype", "batch", "dry_run")
OF_IMAGES += ("network_batch", "vae_slicing", "encoder_checkpointing", "offload_text")
OF_SCENES = ("prior", "prompts", "features", "clip", "device", "dtype")


@dataclass(frozen=True)
class ReproduceConfig:
    """Make a table or a figure of the paper, with the paper's numbers beside ours. Continues where it was stopped."""

    what: tyro.conf.Positional[Planar | Images | Scenes]
    """Which: table1, table2, figure1 and figure3 are of the plane, table3, table4, figure6 and ablation of images, the
    others of three dimensions."""
    out: Path | None = None
    """Folder of the results; modeseek-runs/NAME if not given."""
    seeds: int | None = None
    """How many; if not given 3 for the headline rows of the plane, 8 for table3 and solids, 1 for the others."""
    full: bool = False
    """table2 with the paper's 1000 product samples a step (15 hours a set); table3 and table4 with the paper's own
    setting of msd as well (38400 evaluations a picture); scenes with all twenty prompts for msd."""
    sets: tuple[str, ...] | None = None
    """Of the plane; fractal, spiral and pinwheel for tables, fractal for figures if not given."""
    prompts: Path | None = None
    """Text file with one prompt a line; as of modeseek compare if not given."""
    prior: str = "pocket"
    """Pipeline directory, hub id, or "pocket" for the shipped model."""
    features: str = "pocket-clip"
    """Features of the distances, see docs/metrics.md."""
    clip: str = "pocket-clip"
    """Model of the image-text similarity."""
    device: str = "cpu"
    """Where the image model runs."""
    dtype: DType = "float32"
    """Of its weights."""
    batch: int = 20
    """Pictures that travel together."""
    network_batch: int | None = None
    """Rows that the network sees at once; all if not given. This and the next three leave results as they are."""
    vae_slicing: bool = False
    """The autoencoder works on one picture at a time."""
    encoder_checkpointing: bool = False
    """The encoder's activations are computed again for the gradient instead of kept."""
    offload_text: bool = False
    """The text encoders stay on the CPU."""
    dry_run: bool = False
    """Say what the pictures would cost and stop."""

    def __post_init__(self) -> None:
        if self.seeds is not None and self.seeds < 1:
            raise UsageError(f"seeds must be at least 1, got {self.seeds}")
        if self.full and self.what not in ("table2", "table3", "table4", "scenes"):
            raise UsageError(f"full is a choice of table2, table3, table4 and scenes, got it for {self.what}")
        if self.sets == ():
            raise UsageError("sets must name at least one set, got none")
        read = OF_IMAGES if self.what in get_args(Images) else OF_SCENES if self.what == "scenes" else ()
        given = [n for n in OF_IMAGES if n not in read and getattr(self, n) != getattr(type(self), n)]
        if given:
            why = "does not read it" if read else "has no image model"
            raise UsageError(f"{', '.join(given)} must not be given for {self.what}, which {why}")
        if self.sets is not None and self.what not in get_args(Planar):
            raise UsageError(f"sets must not be given for {self.what}, which is not of the plane")
        if self.what in get_args(Images):
            self.comparison("msd")

    @property
    def count(self) -> int:
        """Number of seeds."""
        return self.seeds if self.seeds is not None else SEEDS.get(self.what, 3)

    def chosen(self) -> tuple[str, ...]:
        """The sets."""
        return self.sets or (("fractal", "spiral", "pinwheel") if self.what.startswith("table") else ("fractal",))

    def folder(self) -> Path:
        """Where the results go."""
        return self.out or Path("modeseek-runs") / self.what

    def comparison(self, methods: str, **options: Any) -> CompareConfig:
        """The comparison behind an experiment on images."""
        shared = {name: getattr(self, name) for name in OF_IMAGES}
        seeds = f"0-{self.count - 1}"
        return CompareConfig(methods=methods, out=self.folder(), **({"seeds": seeds} | shared | options))
