"""Cells that travel together: one run with a checkpoint, then a directory for each picture."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from modeseek.checkpoints import misfit
from modeseek.compare.cells import Cell, Painted
from modeseek.compare.memory import Peak
from modeseek.config import Settings, to_yaml
from modeseek.descent import build_estimator
from modeseek.errors import RunError
from modeseek.jobs import Job
from modeseek.pictures import in_bytes
from modeseek.priors import Prior
from modeseek.randomness import Streams
from modeseek.runs import METRICS, Run, write_atomic
from modeseek.text2image import build_generator, build_rendering

Rate = Callable[[int], float] | None


def grouped(cells: Sequence[Cell], size: int) -> Iterator[tuple[Cell, ...]]:
    """All cells of one method in batches: at most ``size``, but all particles of a prompt together."""
    shared = [c for c in cells if c.mates]
    for index in sorted({c.index for c in shared}):
        yield tuple(c for c in shared if c.index == index)
    alone = [c for c in cells if not c.mates]
    yield from (tuple(alone[k : k + size]) for k in range(0, len(alone), size))


def to_make(cells: Sequence[Cell], out: Path) -> tuple[Cell, ...]:
    """Those of a batch that are not there; particles are made together or not at all."""
    absent = tuple(cell for cell in cells if cell.read(out) is None)
    return tuple(cells) if absent and cells[0].mates else absent


def streams(cells: Sequence[Cell]) -> Streams:
    """One for each picture: those that ``modeseek image`` takes for all prompts of the file with that seed."""
    return Streams([cell.config.seed for cell in cells], [cell.index for cell in cells])


@dataclass
class Batch:
    """Pictures of one method on their way.

    Attributes:
        cells: of one method and one set of options; prompts and seeds differ.
        prior: the model.
        rate: learning rate over steps; None is the configuration's.
        snapshots: pictures kept on the way, the last among them.
    """

    cells: Sequence[Cell]
    prior: Prior
    rate: Rate
    snapshots: int

    def paint(self, folder: Path, out: Path) -> None:
        """Make the pictures, going on from a checkpoint in ``folder`` if there is one; keep them in their cells.

        The folder is removed when all cells are written.

        Raises:
            KeyboardInterrupt: after Ctrl-C, when the checkpoint is written.
        """
        run = self._open(folder)
        peak = Peak(self.prior.device)
        job = self.job(run)
        found = run.load()
        if found is not None:
            job.restore(*found)
        run.cut_back(job.progress.step)
        if not job.advance():
            raise KeyboardInterrupt
        for cell, painted in zip(self.cells, self._read(run, peak.mib())):
            cell.write(out, painted)
        shutil.rmtree(folder)

    @cached_property
    def settings(self) -> Settings:
        """Of the first cell, as of all."""
        return self.cells[0].config.settings

    def job(self, run: Run) -> Job:
        """The loop."""
        config, prior, rng = self.cells[0].config, self.prior, streams(self.cells)
        picture = build_generator(config, prior, rng)
        latent = config.generator == "latents"

        def keep(step: int) -> None:
            with torch.no_grad():
                images = prior.decode(picture()) if latent else picture()
            write_atomic(run.path / _snapshot(step), _packed(in_bytes(images)))

        return Job(
            run=run,
            generator=picture,
            rendered=build_rendering(config, prior, picture),
            estimator=build_estimator(config, prior),
            optimiser=torch.optim.Adam(picture.parameters(), lr=self.settings.lr),
            cond=prior.encode_prompt([cell.prompt for cell in self.cells]),
            rng=rng,
            steps=self.settings.steps,
            refresh_every=self.settings.refresh_every,
            keep_picture=keep,
            picture_every=-(-self.settings.steps // self.snapshots),
            checkpoint_every=50,
            lr=self.rate,
            marks={"cells": self.mark},
        )

    @property
    def mark(self) -> str:
        """Tells this batch from others."""
        return "-".join(cell.mark for cell in self.cells)

    def _open(self, folder: Path) -> Run:
        """The batch's directory, as a kill left it, or a new one."""
        try:
            run = Run.open(folder)
            found = run.load()
            if found is not None and found[1].get("cells") != self.mark:
                raise misfit(folder, "other pictures")
            return run
        except RunError:
            shutil.rmtree(folder, ignore_errors=True)
            return Run.create(folder, to_yaml(self.cells[0].config))

    def _read(self, run: Run, peak: float) -> list[Painted]:
        """The snapshots, a row a picture, with the costs that the log tells."""
        rows = [json.loads(line) for line in (run.path / METRICS).read_text().splitlines()]
        nfe, seconds = [0], [0.0]
        for row in rows:
            nfe.append(row["nfe"])
            seconds.append(seconds[-1] + row["seconds"] / len(self.cells))
        files = sorted(run.path.glob("snapshot-*.safetensors"))
        steps = torch.tensor([int(f.stem.removeprefix("snapshot-")) for f in files])
        images = torch.stack([_unpacked(f.read_bytes()) for f in files], 1)
        costs = torch.tensor(nfe)[steps], torch.tensor(seconds, dtype=torch.float64)[steps]
        return [Painted(row, steps, *costs, peak) for row in images]


def _snapshot(step: int) -> str:
    return f"snapshot-{step:06d}.safetensors"


def _packed(images: Tensor) -> bytes:
    from safetensors.torch import save

    return save({"images": images.contiguous()})


def _unpacked(data: bytes) -> Tensor:
    from safetensors.torch import load

    return load(data)["images"]
