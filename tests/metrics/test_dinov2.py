"""DINOv2 features of a tiny random model."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from modeseek.errors import PriorError
from modeseek.metrics import open_features
from modeseek.metrics.dinov2 import open_dinov2
from modeseek.metrics.weights import sha256


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A Dinov2Model of 16 dimensions, trained on 28 pixels, wide enough that pictures differ."""
    from transformers import Dinov2Config, Dinov2Model

    path = tmp_path_factory.mktemp("models") / "tiny"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = Dinov2Config(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=28, initializer_range=0.3
        )
        Dinov2Model(config).save_pretrained(path)
    return path


@pytest.fixture
def images():
    coarse = torch.rand(3, 3, 6, 6, generator=torch.Generator().manual_seed(1)) * 0.6 + 0.2
    return torch.nn.functional.interpolate(coarse, (96, 96), mode="bilinear")


def test_features_are_the_class_token_of_whole_pictures(folder, images):
    """transformers calls it pooler_output; pictures resized by Pillow and normalised by ImageNet's numbers."""
    from transformers import Dinov2Model

    levels = (images * 255).round().byte().permute(0, 2, 3, 1).numpy()
    sized = [Image.fromarray(x).resize((224, 224), Image.Resampling.BICUBIC) for x in levels]
    pixels = torch.from_numpy(np.stack([np.asarray(p) for p in sized])).permute(0, 3, 1, 2) / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        normal = (pixels - mean[:, None, None]) / std[:, None, None]
        expected = Dinov2Model.from_pretrained(folder).eval()(pixel_values=normal).pooler_output
    ours = open_dinov2(folder)(images).float()
    assert torch.allclose(ours, expected, atol=0.02)
    assert float((expected[0] - expected[1]).abs().max()) > 0.2  # what the tolerance is small against


def test_it_names_itself(folder):
    extractor = open_features(folder)
    assert (extractor.name, extractor.dimension, extractor.size) == ("dinov2:tiny", 16, 224)
    assert extractor.filter == "bicubic-antialias"
    assert extractor.sha256 == sha256([folder / "model.safetensors"])


def test_gaps_and_damage_are_refused(folder, tmp_path):
    state = load_file(folder / "model.safetensors")
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    missing = "layernorm.weight"
    save_file({k: v for k, v in state.items() if k != missing}, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(PriorError, match=r"must be complete; they lack layernorm\.weight"):
        open_dinov2(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(PriorError, match=r"DINOv2 model .* cannot be loaded: "):
        open_dinov2(tmp_path)
