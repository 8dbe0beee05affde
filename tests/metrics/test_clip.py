"""The shipped small CLIP as a metric."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from modeseek.errors import PriorError, UsageError
from modeseek.metrics import ImageText
from modeseek.metrics.weights import sha256
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


@pytest.fixture
def copy(tmp_path):
    """The shipped model under another name."""
    return shutil.copytree(POCKET_CLIP, tmp_path / "copy")


def test_the_extractor_names_itself_and_gives_the_same_features(clip, discs):
    extractor = clip.extractor()
    assert torch.equal(extractor(discs, batch=2).float(), clip.images(discs, batch=2))
    assert torch.allclose(extractor(discs).norm(dim=1), torch.ones(3, dtype=torch.float64), atol=1e-6)
    assert (extractor.name, extractor.filter, extractor.size) == ("clip:pocket-clip", "area", 64)
    assert extractor.dimension == extractor(discs).shape[1] == 128
    assert extractor.sha256 == sha256([POCKET_CLIP / "model.safetensors"])


def test_another_folder_resizes_as_its_own_processor(copy):
    """Pictures of 150 pixels through CLIPImageProcessor, in 8 bits, give the same features."""
    from transformers import CLIPImageProcessor

    other = ImageText.open(copy)
    assert (other.filter, other.extractor().name) == ("bicubic-antialias", "clip:copy")
    coarse = torch.rand(4, 3, 10, 10, generator=torch.Generator().manual_seed(0)) * 0.6 + 0.2
    images = torch.nn.functional.interpolate(coarse, (150, 150), mode="bilinear")
    levels = (images * 255).round().byte().permute(0, 2, 3, 1).numpy()
    pixels = CLIPImageProcessor.from_pretrained(copy)(list(levels), return_tensors="np")["pixel_values"]
    with torch.no_grad():
        out = other.model.vision_model(pixel_values=torch.from_numpy(np.stack(pixels))).pooler_output
        expected = torch.nn.functional.normalize(other.model.visual_projection(out), dim=-1)
    assert torch.allclose(other.images(images), expected, atol=3e-3)
    assert float((expected[0] - expected[1]).norm()) > 0.1  # what the tolerance is small against


def test_pictures_that_are_not_square_are_refused(clip):
    with pytest.raises(UsageError, match="must be square"):
        clip.images(torch.rand(1, 3, 64, 96))


def test_weights_with_a_gap_are_refused(copy):
    """The library would fill it with random numbers."""
    state = load_file(copy / "model.safetensors")
    del state["visual_projection.weight"]
    save_file(state, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(PriorError, match=r"must be complete; they lack visual_projection\.weight"):
        ImageText.open(copy)


def test_a_tokenizer_without_a_limit_takes_the_models(clip, copy, discs):
    config = json.loads((copy / "tokenizer_config.json").read_text())
    del config["model_max_length"]
    (copy / "tokenizer_config.json").write_text(json.dumps(config))
    other = ImageText.open(copy)
    assert other.tokenizer.model_max_length > 10**6
    assert torch.equal(other.texts(["red circle"]), clip.texts(["red circle"]))


def test_a_folder_that_is_no_clip_is_refused(tmp_path):
    with pytest.raises(PriorError, match=r"config\.json"):
        ImageText.open(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(PriorError, match="cannot be loaded"):
        ImageText.open(tmp_path)
    with pytest.raises(PriorError, match="existing directory or a hub id"):
        ImageText.open(tmp_path / "absent")
