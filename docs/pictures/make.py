"""Make the pictures of README and docs: ``python docs/pictures/make.py``."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import torch

from modeseek.config import ImageConfig
from modeseek.pictures import png, sheet
from modeseek.text2image import TextToImage

HERE = Path(__file__).parent
PROMPTS = ("hamburger", "dog face", "rocket", "strawberry", "octopus", "red heart", "sunflower", "automobile")
STEPS = (0, 6, 12, 20, 64, 400)  # rows of the hero picture


def hero() -> None:
    """Rows: optimiser steps of one run; columns: prompts."""
    with tempfile.TemporaryDirectory() as folder:
        job = TextToImage.start(ImageConfig(PROMPTS, out=Path(folder) / "run"))
        rows: list[torch.Tensor] = [job.images()]
        for before, after in itertools.pairwise(STEPS):
            job.advance(stop_after=after - before)
            rows.append(job.images())
        (HERE / "hero.png").write_bytes(png(sheet(torch.cat(rows), columns=len(PROMPTS))))


if __name__ == "__main__":
    hero()
