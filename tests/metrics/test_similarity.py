"""Per cent of cosine, per picture."""

import pytest
import torch

from modeseek.errors import UsageError
from modeseek.metrics import Bootstrap, ImageText, similarity

TEXTS = ["red circle", "blue circle", "panda", "house", "rocket"]


@pytest.fixture(scope="module")
def clip():
    return ImageText.open()


@pytest.fixture(scope="module")
def images():
    return torch.rand(5, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_is_a_hundred_times_the_cosine(clip, images):
    """CLIP-1: of the whole model's embeddings in one call."""
    result = similarity(clip, images, TEXTS)
    tokens = clip.tokenizer(TEXTS, padding="max_length", max_length=24, truncation=True, return_tensors="pt")
    with torch.no_grad():
        out = clip.model(input_ids=tokens.input_ids, pixel_values=(images - 0.5) / 0.5)
    expected = 100 * torch.nn.functional.cosine_similarity(out.image_embeds.double(), out.text_embeds.double())
    assert result.per_picture == pytest.approx(expected.tolist(), abs=1e-4)
    assert result.value == pytest.approx(float(expected.mean()), abs=1e-4)
    assert result.spread == pytest.approx(float(expected.std()), abs=1e-4)
    assert result.value == pytest.approx(100 * float(clip.similarity(images, TEXTS).mean()), abs=1e-4)


def test_says_what_it_was_made_with(clip, images):
    """CLIP-1."""
    result = similarity(clip, images, TEXTS)
    assert (result.metric, result.extractor, result.filter) == ("similarity", "clip:pocket-clip", "area")
    assert (result.sha256, result.dimensions, result.counts) == (clip.sha256, 128, (5,))
    assert result.interval is None


def test_the_interval_is_that_of_the_mean(clip, images):
    """CLIP-1."""
    result = similarity(clip, images, TEXTS, Bootstrap(50))
    values = torch.tensor(result.per_picture, dtype=torch.float64)
    assert result.interval == pytest.approx(Bootstrap(50).interval(lambda i: float(values[i].mean()), 5))


def test_one_picture_has_no_spread(clip, images):
    """CLIP-1."""
    result = similarity(clip, images[:1], TEXTS[:1])
    assert result.spread is None
    assert result.per_picture == (result.value,)


def test_one_prompt_a_picture(clip, images):
    """CLIP-1."""
    with pytest.raises(UsageError, match="5 pictures and 4 prompts"):
        similarity(clip, images, TEXTS[:4])
