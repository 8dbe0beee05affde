"""DINOv2 features (Oquab et al. 2023): the class token of a Dinov2Model of transformers."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from modeseek.errors import PriorError
from modeseek.metrics.extractor import Extractor
from modeseek.metrics.weights import model_folder, sha256, weights_files

SIZE = 224  # pixels; the model interpolates its positions from what it was trained at
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as its processor


def open_dinov2(name: Path | str, device: str | torch.device = "cpu") -> Extractor:
    """DINOv2's class token after the last normalisation, of whole pictures at 224 x 224, as Stein et al. 2023 use it.

    The processor of the model would resize to 256 and keep the middle 224; whole pictures lose no border.

    Args:
        name: directory or hub id of a Dinov2Model, weights as safetensors.
        device: where the network goes.

    Raises:
        PriorError: if it cannot be opened or its weights have gaps.
    """
    from transformers import Dinov2Model

    folder = model_folder(name)
    files = weights_files(folder)
    try:
        model, info = Dinov2Model.from_pretrained(folder, use_safetensors=True, output_loading_info=True)
    # what the library raises on damaged folders has no common base
    except Exception as error:
        raise PriorError(f"the DINOv2 model {name} cannot be loaded: {str(error).splitlines()[0]}") from error
    # the library would fill the gap with random numbers
    if info["missing_keys"]:
        raise PriorError(f"the weights of {name} must be complete; they lack {min(info['missing_keys'])}")
    model = model.float().eval().requires_grad_(False).to(device)
    mean, std = (torch.tensor(c, device=device)[:, None, None] for c in (MEAN, STD))

    def features(pictures: Tensor) -> Tensor:
        tokens: Tensor = model(pixel_values=(pictures - mean) / std).last_hidden_state
        return tokens[:, 0]

    return Extractor(
        name=f"dinov2:{Path(name).name}",
        dimension=int(model.config.hidden_size),
        filter="bicubic-antialias",
        size=SIZE,
        sha256=sha256(files),
        network=features,
        device=torch.device(device),
    )
