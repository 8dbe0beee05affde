"""Make the pictures of README and docs: ``python docs/pictures/make.py [FOLDER]``.

With the folder of ``modeseek reproduce scenes --full`` the scenes are made of it instead of the hero picture.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from pathlib import Path

import torch

from modeseek.config import ImageConfig
from modeseek.pictures import png, sheet
from modeseek.runs import slug
from modeseek.scene.files import Kept
from modeseek.scene.outputs import walk
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


SCENES = ("hamburger", "red apple", "panda", "automobile", "evergreen tree", "house")


def scenes(folder: Path) -> None:
    """Rows: scenes; columns: from the front on around."""
    rows = []
    for prompt in SCENES:
        kept = Kept.open(folder / "runs" / f"msd-{slug(prompt)}-0")
        rows.append(walk(kept.config, kept.nerf, 8, size=96).image)
    (HERE / "scenes.png").write_bytes(png(sheet(torch.cat(rows), columns=8)))


if __name__ == "__main__":
    scenes(Path(sys.argv[1])) if len(sys.argv) > 1 else hero()
