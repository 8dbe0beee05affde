"""Image-text similarity and image features from a CLIP model of transformers; the shipped small one by default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from modeseek.errors import PriorError
from modeseek.metrics.extractor import Extractor
from modeseek.metrics.weights import model_folder, sha256, weights_files
from modeseek.shipped import POCKET_CLIP
from modeseek.tokens import tokenise


@dataclass(frozen=True)
class ImageText:
    """A CLIP model.

    Attributes:
        name: where it came from.
        model: transformers CLIPModel.
        tokenizer: transformers CLIPTokenizer.
        mean: (3,) of the picture normalisation.
        std: (3,).
        size: side of the pictures it takes.
        filter: name of the resize filter (resize.py).
        sha256: of the file of weights.
    """

    name: str
    model: Any
    tokenizer: Any
    mean: Tensor
    std: Tensor
    size: int
    filter: str
    sha256: str

    @classmethod
    def open(cls, folder: Path | str = POCKET_CLIP, device: str | torch.device = "cpu") -> ImageText:
        """Open a directory in transformers' layout, or a hub id.

        The shipped model averages over areas (its pictures are of its own size or a multiple); others resize as their
        own processor does, antialiased bicubic.

        Raises:
            PriorError: if it is none, or its weights have gaps.
        """
        path = model_folder(folder)
        model, tokenizer, processor = _load(path)
        size = int(model.config.vision_config.image_size)
        mean, std = (torch.tensor(c, device=device) for c in (processor.image_mean, processor.image_std))
        chosen = "area" if path.resolve() == POCKET_CLIP else "bicubic-antialias"
        return cls(str(folder), model.to(device), tokenizer, mean, std, size, chosen, sha256(weights_files(path)))

    def extractor(self) -> Extractor:
        """Its unit image features as features for distances."""
        return Extractor(
            name=f"clip:{Path(self.name).name}",
            dimension=int(self.model.config.projection_dim),
            filter=self.filter,
            size=self.size,
            sha256=self.sha256,
            network=self._embed,
            device=self.mean.device,
        )

    def images(self, images: Tensor, batch: int = 128) -> Tensor:
        """Unit features (N, D), float32, of square images (N, 3, H, W) in [0, 1], resized by ``filter``.

        Raises:
            UsageError: if these are no such images.
        """
        return self.extractor()(images, batch).float()

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> Tensor:
        """Unit features (N, D) of texts."""
        limit = self.model.config.text_config.max_position_embeddings
        tokens = tokenise(self.tokenizer, list(texts), limit, f"the similarity's {Path(self.name).name}")
        pooled = self.model.text_model(input_ids=tokens.input_ids.to(self.mean.device)).pooler_output
        features: Tensor = F.normalize(self.model.text_projection(pooled), dim=-1)
        return features.cpu()

    def similarity(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """Cosine between each image (N, 3, H, W) and its text, (N,)."""
        return (self.images(images) * self.texts(texts)).sum(-1)

    def rank(self, images: Tensor, names: Sequence[str], right: Sequence[str]) -> Tensor:
        """Rank (N,) of the right name of each image among ``names``; 1 is best."""
        scores = self.images(images) @ self.texts(names).T
        position = torch.tensor([list(names).index(name) for name in right])
        own = scores.gather(1, position[:, None])
        return 1 + (scores > own).sum(1)

    def _embed(self, pictures: Tensor) -> Tensor:
        pixels = (pictures - self.mean[:, None, None]) / self.std[:, None, None]
        pooled = self.model.vision_model(pixel_values=pixels).pooler_output
        return F.normalize(self.model.visual_projection(pooled), dim=-1)


def _load(folder: Path) -> tuple[Any, Any, Any]:
    from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

    try:
        model, info = CLIPModel.from_pretrained(folder, use_safetensors=True, output_loading_info=True)
        tokenizer = CLIPTokenizer.from_pretrained(folder)
        processor = CLIPImageProcessor.from_pretrained(folder)
    # what the library raises on damaged folders has no common base
    except Exception as error:
        raise PriorError(f"the CLIP model {folder} cannot be loaded: {str(error).splitlines()[0]}") from error
    # the library would fill the gap with random numbers
    if info["missing_keys"]:
        raise PriorError(f"the weights of {folder} must be complete; they lack {min(info['missing_keys'])}")
    return model.float().eval().requires_grad_(False), tokenizer, processor
