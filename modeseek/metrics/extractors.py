"""Open a feature network by name."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from modeseek.errors import PriorError
from modeseek.metrics.clip import ImageText
from modeseek.metrics.dinov2 import open_dinov2
from modeseek.metrics.extractor import Extractor
from modeseek.metrics.inception import open_inception
from modeseek.metrics.weights import model_folder
from modeseek.shipped import POCKET_CLIP


def open_features(name_or_path: Path | str | None = None, device: str | torch.device = "cpu") -> Extractor:
    """The network that turns pictures into features.

    Args:
        name_or_path: none or ``pocket-clip``, the shipped small CLIP; ``inception``, the file that MODESEEK_INCEPTION
            names; the path of that file (``.pth``); a directory or hub id of a CLIPModel or Dinov2Model.
        device: where the network goes.

    Raises:
        PriorError: if it is none of these or cannot be opened.
    """
    name = "pocket-clip" if name_or_path is None else str(name_or_path)
    if name == "inception":
        return open_inception(device=device)
    if name.endswith((".pth", ".pt")):
        return open_inception(name, device)
    folder = POCKET_CLIP if name == "pocket-clip" else model_folder(name)
    kind = _kind(folder)
    if kind == "clip":
        return ImageText.open(folder if name == "pocket-clip" else name, device).extractor()
    if kind == "dinov2":
        return open_dinov2(name, device)
    raise PriorError(f"a feature model must be a CLIPModel or a Dinov2Model; {name} says model_type {kind!r}")


def _kind(folder: Path) -> str:
    try:
        return str(json.loads((folder / "config.json").read_text())["model_type"])
    except (ValueError, KeyError, TypeError) as error:
        raise PriorError(f"the config.json of {folder} must be JSON with a model_type") from error
