"""Feature networks by name."""

import json

import pytest
import torch

from modeseek.errors import PriorError
from modeseek.metrics import open_features
from modeseek.shipped import POCKET_CLIP


def test_the_shipped_one_is_the_default():
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    default, named, path = open_features(), open_features("pocket-clip"), open_features(POCKET_CLIP)
    assert torch.equal(default(images), named(images))
    assert {default.name, named.name, path.name} == {"clip:pocket-clip"}
    assert {default.filter, named.filter, path.filter} == {"area"}


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    open_features()(torch.zeros(1, 3, 64, 64))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_hub_id_opens_its_local_copy(monkeypatch):
    asked = []

    def snapshot_download(name, allow_patterns):
        asked.append((name, allow_patterns))
        return str(POCKET_CLIP)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert open_features("owner/small-clip").name == "clip:small-clip"
    assert {name for name, _ in asked} == {"owner/small-clip"}
    assert not [p for _, patterns in asked for p in patterns if p.endswith((".bin", ".pt"))]  # no pickles are fetched


def test_another_kind_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit"}))
    with pytest.raises(PriorError, match=r"a CLIPModel or a Dinov2Model; .* says model_type 'vit'"):
        open_features(tmp_path)
    for damaged in ("[]", "{", "{}"):
        (tmp_path / "config.json").write_text(damaged)
        with pytest.raises(PriorError, match="must be JSON with a model_type"):
            open_features(tmp_path)


def test_what_is_not_there_is_refused(tmp_path):
    for absent in (tmp_path / "absent", "word"):
        with pytest.raises(PriorError, match=r"existing directory or a hub id like owner/name; there is no "):
            open_features(absent)
    with pytest.raises(PriorError, match="cannot be read"):
        open_features(tmp_path / "absent.pth")
