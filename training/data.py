"""The pictures and their captions: Noto Emoji, composed on white, checked against a manifest of hashes.

The pictures are published at https://github.com/googlefonts/noto-emoji (commit
b3e3051a088047d19fd4d49b1c3ac42fb8c3aaf8, folder png/128), the names
and groups in Unicode's emoji-test.txt (version 15).
``training/README.md`` says how the folder is laid out.
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

MANIFEST = Path(__file__).with_name("manifest.sha256")


@dataclass(frozen=True)
class Picture:
    """One captioned picture.

    Attributes:
        file: name inside ``png/``.
        name: the Unicode name, for example "hamburger".
        group: for example "Food & Drink".
        subgroup: for example "food-prepared".
    """

    file: str
    name: str
    group: str
    subgroup: str

    def captions(self) -> tuple[str, ...]:
        """The texts this picture answers to: its name, its group, its subgroup, in plain words."""
        return (self.name, _plain(self.group), _plain(self.subgroup))


def _plain(label: str) -> str:
    return label.replace("&", "and").replace("-", " ").lower()


def read_captions(root: Path) -> list[Picture]:
    """Rows of ``captions.csv`` in their order."""
    with open(root / "captions.csv", newline="", encoding="utf-8") as file:
        return [Picture(r["file"], r["name"], r["group"], r["subgroup"]) for r in csv.DictReader(file)]


def check_manifest(root: Path, manifest: Path = MANIFEST) -> None:
    """Compare every file with the manifest.

    Raises:
        ValueError: naming the first file that is missing or differs.
    """
    for line in manifest.read_text().splitlines():
        expected, name = line.split("  ", 1)
        path = root / name
        if not path.is_file():
            raise ValueError(f"--data must hold every file of {manifest.name}; {name} is missing in {root}")
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != expected:
            raise ValueError(f"{name} must have SHA-256 {expected[:12]}..., got {found[:12]}... in {root}")


def load_pictures(root: Path, pictures: list[Picture], size: int) -> torch.Tensor:
    """All pictures on white, as float32 of shape (N, 3, size, size) in [-1, 1]."""
    rows = []
    for picture in pictures:
        rgba = Image.open(root / "png" / picture.file).convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        rgb = Image.alpha_composite(white, rgba).convert("RGB").resize((size, size), Image.Resampling.LANCZOS)
        rows.append(np.asarray(rgb, dtype=np.float32) / 127.5 - 1.0)
    return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2).contiguous()
