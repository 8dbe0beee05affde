"""The shipped small CLIP as a metric."""

from __future__ import annotations

import pytest
import torch

from modeseek.errors import PriorError
from modeseek.metrics import ImageText
from modeseek.shipped import POCKET_CLIP


@pytest.fixture(scope="module")
def clip() -> ImageText:
    return ImageText.open()


@pytest.fixture(scope="module")
def discs() -> torch.Tensor:
    """Large discs on white, red, blue and green, (3, 3, 64, 64)."""
    v, u = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 64), indexing="ij")
    inside = (u**2 + v**2 < 0.85).float()
    colours = torch.tensor([[0.9, 0.2, 0.2], [0.1, 0.45, 0.9], [0.5, 0.75, 0.2]])
    return colours[:, :, None, None] * inside + (1 - inside)


def test_knows_colours_of_circles(clip, discs):
    names = ["red circle", "blue circle", "green circle"]
    scores = clip.images(discs) @ clip.texts(names).T
    assert scores.argmax(1).tolist() == [0, 1, 2]
    every = (POCKET_CLIP / "names.txt").read_text().splitlines()
    assert len(every) == len(set(every)) == 1601
    assert clip.rank(discs, every, names).max() <= 10
    assert torch.allclose(clip.similarity(discs, names), scores.diagonal(), atol=1e-6)


def test_features_are_those_of_transformers(clip, discs):
    """The whole model in one call gives the same unit features."""
    tokens = clip.tokenizer(["red circle"], padding="max_length", truncation=True, return_tensors="pt")
    pixels = (discs[:1] - clip.mean[:, None, None]) / clip.std[:, None, None]
    with torch.no_grad():
        out = clip.model(input_ids=tokens.input_ids, pixel_values=pixels)
    assert torch.allclose(clip.images(discs[:1]), out.image_embeds, atol=1e-5)
    assert torch.allclose(clip.texts(["red circle"]), out.text_embeds, atol=1e-5)


def test_batch_and_size_do_not_matter(clip, discs):
    whole = clip.images(discs)
    assert torch.allclose(whole, torch.cat([clip.images(d[None]) for d in discs]), atol=1e-5)
    large = discs.repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert torch.allclose(whole, clip.images(large, batch=2), atol=1e-5)


def test_a_folder_that_is_no_clip_is_refused(tmp_path):
    with pytest.raises(PriorError, match=r"config\.json"):
        ImageText.open(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(PriorError, match="cannot be loaded"):
        ImageText.open(tmp_path)
