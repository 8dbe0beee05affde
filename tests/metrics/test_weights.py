"""Where weights lie and which they are."""

import hashlib

import pytest

from modeseek.errors import PriorError
from modeseek.metrics.weights import model_folder, sha256, weights_files


def test_the_hash_is_that_of_the_bytes_one_after_another(tmp_path):
    """The example of FIPS 180-4, whole and in two files."""
    whole, one, two = (tmp_path / n for n in ("whole", "one", "two"))
    whole.write_bytes(b"abc")
    one.write_bytes(b"a")
    two.write_bytes(b"bc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256([whole]) == sha256([one, two]) == known
    large = bytes(range(256)) * 10_000  # more than one block
    whole.write_bytes(large)
    assert sha256([whole]) == hashlib.sha256(large).hexdigest()


def test_one_file_goes_before_shards_and_pickles_are_none(tmp_path):
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(PriorError, match="weights must be safetensors"):
        weights_files(tmp_path)
    shards = [tmp_path / f"model-0000{k}-of-00002.safetensors" for k in (1, 2)]
    for shard in reversed(shards):
        shard.touch()
    assert weights_files(tmp_path) == shards
    (tmp_path / "model.safetensors").touch()
    assert weights_files(tmp_path) == [tmp_path / "model.safetensors"]


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(PriorError, match=r"config\.json"):
        model_folder(tmp_path)
    with pytest.raises(PriorError, match="existing directory or a hub id"):
        model_folder(tmp_path / "absent")
    (tmp_path / "config.json").write_text("{}")
    assert model_folder(tmp_path) == tmp_path


def test_a_hub_id_that_is_not_here_is_one_sentence():
    with pytest.raises(PriorError, match="the feature model nobody/nothing cannot be fetched: "):
        model_folder("nobody/nothing")
