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
from modeseek.shipped import POCKET_CLIP


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
    """

    name: str
    model: Any
    tokenizer: Any
    mean: Tensor
    std: Tensor
    size: int

    @classmethod
    def open(cls, folder: Path | str = POCKET_CLIP) -> ImageText:
        """Open a directory in transformers' layout.

        Raises:
            PriorError: if it is none.
        """
        from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

        if not (Path(folder) / "config.json").is_file():
            raise PriorError(f"a CLIP model must be a directory with a config.json; {folder} is not")
        try:
            model = CLIPModel.from_pretrained(folder, use_safetensors=True).float().eval().requires_grad_(False)
            tokenizer = CLIPTokenizer.from_pretrained(folder)
            processor = CLIPImageProcessor.from_pretrained(folder)
        # what the library raises on damaged folders has no common base
        except Exception as error:
            raise PriorError(f"the CLIP model {folder} cannot be loaded: {str(error).splitlines()[0]}") from error
        size = int(model.config.vision_config.image_size)
        mean, std = torch.tensor(processor.image_mean), torch.tensor(processor.image_std)
        return cls(str(folder), model, tokenizer, mean, std, size)

    @torch.no_grad()
    def images(self, images: Tensor, batch: int = 128) -> Tensor:
        """Unit features (N, D) of images (N, 3, H, W) in [0, 1], resized to the model's size by area."""
        rows = []
        for part in torch.split(images, batch):
            sized = part if part.shape[-1] == self.size else F.interpolate(part, (self.size, self.size), mode="area")
            pixels = (sized - self.mean[:, None, None]) / self.std[:, None, None]
            pooled = self.model.vision_model(pixel_values=pixels).pooler_output
            rows.append(F.normalize(self.model.visual_projection(pooled), dim=-1))
        return torch.cat(rows)

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> Tensor:
        """Unit features (N, D) of texts."""
        tokens = self.tokenizer(
            list(texts),
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        pooled = self.model.text_model(input_ids=tokens.input_ids).pooler_output
        features: Tensor = F.normalize(self.model.text_projection(pooled), dim=-1)
        return features

    def similarity(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """Cosine between each image (N, 3, H, W) and its text, (N,)."""
        return (self.images(images) * self.texts(texts)).sum(-1)

    def rank(self, images: Tensor, names: Sequence[str], right: Sequence[str]) -> Tensor:
        """Rank (N,) of the right name of each image among ``names``; 1 is best."""
        scores = self.images(images) @ self.texts(names).T
        position = torch.tensor([list(names).index(name) for name in right])
        own = scores.gather(1, position[:, None])
        return 1 + (scores > own).sum(1)
