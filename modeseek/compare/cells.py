"""The pictures of a comparison on disk: one directory for each (method, prompt, seed)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from modeseek.compare.config import Contender
from modeseek.config import ImageConfig, to_yaml
from modeseek.pictures import png
from modeseek.runs import slug, write_atomic, writing

CELL, SNAPSHOTS, FINAL = "cell.json", "snapshots.safetensors", "final.png"
FORMAT = 1  # of a cell; another number makes all anew, as where a default of ImageConfig changes
# options that some methods alone read: another value of them leaves the pictures of the others as they are
MEANT_FOR = {
    **dict.fromkeys(("time", "time_low", "time_high", "time_drop", "weighting"), ("sds", "vsd", "sdi")),
    **dict.fromkeys(("lora_rank", "lora_lr", "lora_steps"), ("vsd",)),
    **dict.fromkeys(("inversion_steps", "inversion_guidance", "inversion_eta", "inversion_start"), ("sdi",)),
    **dict.fromkeys(("inversion_noise", "pairing"), ("sdi",)),
    **dict.fromkeys(("sampler", "sample_steps", "bandwidth_start", "bandwidth_end", "bandwidth_shape"), ("msd",)),
    **dict.fromkeys(("n_samples", "start", "kernel_low", "kernel_high", "clock", "data_variance"), ("msd",)),
    **dict.fromkeys(("sweeps", "printed_start"), ("msd",)),
    "max_eps": ("sdi", "msd"),
    "loss": ("sds",),
}
# a picture does not tell them
UNSEEN: tuple[str, ...] = (
    "preset",
    "threads",
    "out",
    "picture_every",
    "checkpoint_every",
    "network_batch",
    "vae_slicing",
    "encoder_checkpointing",
    "offload_text",
)


@dataclass(frozen=True)
class Cell:
    """One picture to be made.

    Attributes:
        contender: the method.
        index: of the prompt in its file.
        config: of the run, resolved; prompt and seed among it.
        mates: seeds that share a batch where the method's pictures depend on each other (vsd's particles), else empty.
        model: fingerprint of the model's weights.
        more: what else the picture depends on, for instance the number of snapshots.
    """

    contender: Contender
    index: int
    config: ImageConfig
    mates: tuple[int, ...]
    model: str
    more: str = ""

    @property
    def prompt(self) -> str:
        """Its prompt."""
        return self.config.prompts[0]

    @property
    def mark(self) -> str:
        """Tells this cell from the cells of other configurations and models.

        Of the configuration what the method reads and is not a default: an option that a later version adds does not
        make all anew.
        """
        told = sorted((f.name, getattr(self.config, f.name)) for f in dataclasses.fields(self.config) if self._tells(f))
        return _hash(FORMAT, self.model, self.index, told, self.mates, self.more)

    def _tells(self, field: dataclasses.Field[Any]) -> bool:
        """Whether an option says something about the picture."""
        meant = self.config.method in MEANT_FOR.get(field.name, (self.config.method,))
        return meant and field.name not in UNSEEN and getattr(self.config, field.name) != field.default

    def folder(self, out: Path) -> Path:
        """Where it lives."""
        name = f"{self.index:02d}-{slug(self.prompt)}"
        return out / "cells" / slug(str(self.contender)) / name / f"seed-{self.config.seed}"

    def read(self, out: Path) -> Painted | None:
        """The picture; None if it is not there, damaged, or of another configuration."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        folder = self.folder(out)
        try:
            found = json.loads((folder / CELL).read_text())
            if found["mark"] != self.mark:
                return None
            tensors = load((folder / SNAPSHOTS).read_bytes())
            return Painted(tensors["images"], tensors["steps"], tensors["nfe"], tensors["seconds"], found["peak_mib"])
        except (OSError, ValueError, KeyError, TypeError, SafetensorError):
            return None

    def write(self, out: Path, painted: Painted) -> None:
        """Keep the picture; cell.json is last, so that a kill leaves the whole cell or none."""
        from safetensors.torch import save

        folder = self.folder(out)
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        tensors = {"images": painted.images, "steps": painted.steps, "nfe": painted.nfe, "seconds": painted.seconds}
        (folder / CELL).unlink(missing_ok=True)
        write_atomic(folder / SNAPSHOTS, save({k: v.contiguous() for k, v in tensors.items()}))
        write_atomic(folder / FINAL, png(painted.final))
        facts = {"method": str(self.contender), "prompt": self.prompt, "seed": self.config.seed, "mark": self.mark}
        facts |= {"nfe": int(painted.nfe[-1]), "seconds": float(painted.seconds[-1]), "peak_mib": painted.peak_mib}
        write_atomic(folder / CELL, json.dumps(facts | {"model": self.model, "config": to_yaml(self.config)}, indent=1))


@dataclass(frozen=True)
class Painted:
    """A picture on its way.

    Attributes:
        images: (S, 3, H, W) uint8, the last is final.
        steps: (S,) optimiser steps done.
        nfe: (S,) evaluations so far.
        seconds: (S,) so far, of this picture's share of its batch.
        peak_mib: largest memory of the process, or of the device, while its batch was made; 0 if not known.
    """

    images: Tensor
    steps: Tensor
    nfe: Tensor
    seconds: Tensor
    peak_mib: float

    @property
    def final(self) -> Tensor:
        """(3, H, W) in [0, 1]."""
        return self.images[-1].float() / 255


def _hash(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
