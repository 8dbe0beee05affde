"""The loader of Inception's weights: known bytes, then tensors alone, then the known layout."""

import hashlib
import pickle

import pytest
import torch

from modeseek.errors import PriorError
from modeseek.metrics import inception, open_features
from modeseek.metrics.inception import FILE, SHA256, VARIABLE, open_inception
from modeseek.metrics.inception_network import InceptionNetwork


@pytest.fixture(scope="module")
def state():
    """Random weights in the file's layout: names of torchvision's Inception, 1008 classes, no side branch."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return dict(InceptionNetwork().state_dict())


@pytest.fixture
def known(monkeypatch, tmp_path):
    """Write a file and pretend that its hash is the known one."""

    def write(content, **options):
        path = tmp_path / "weights.pth"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path, **options)
        monkeypatch.setattr(inception, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
        return path

    return write


def test_the_hash_begins_as_the_files_name():
    assert len(SHA256) == 64
    assert f"pt_inception-2015-12-05-{SHA256[:8]}.pth" == FILE


@pytest.mark.parametrize("old", [False, True], ids=["zip", "old"])
def test_features_are_those_of_the_network(state, known, old):
    """[0, 1] becomes [-1, 1] after the resize to 299; any aspect. An old file is no zip and may lack the counters."""
    kept = {k: v for k, v in state.items() if not (old and "num_batches" in k)}
    extractor = open_inception(known(kept, _use_new_zipfile_serialization=not old))
    network = InceptionNetwork().eval()
    network.load_state_dict(state)
    images = torch.rand(2, 3, 40, 60, generator=torch.Generator().manual_seed(1))
    sized = torch.nn.functional.interpolate(images, (299, 299), mode="bilinear", align_corners=False)
    with torch.no_grad():
        expected = network(sized * 2 - 1).double()
    assert torch.allclose(extractor(images), expected, atol=1e-6)
    assert expected.std(0).max() > 0  # pictures differ
    assert (extractor.dimension, extractor.filter, extractor.size) == (2048, "bilinear", 299)
    assert extractor.sha256 == inception.SHA256
    assert extractor.name == "inception:2015-12-05"


def test_by_name_through_the_environment_and_by_path(state, known, monkeypatch):
    path = known(state)
    monkeypatch.setenv(VARIABLE, str(path))
    assert open_features("inception").name == open_features(path).name == "inception:2015-12-05"


def test_the_global_generator_is_left_alone(state, known):
    before = torch.get_rng_state()
    open_inception(known(state))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_missing_file_says_where_it_is_from(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(PriorError, match=r"got none. .*mseitzer/pytorch-fid; nothing is downloaded"):
        open_inception()
    with pytest.raises(PriorError, match=rf"absent.pth cannot be read: No such file .*{VARIABLE}"):
        open_inception(tmp_path / "absent.pth")


def test_other_bytes_are_refused_before_they_are_unpickled(tmp_path, monkeypatch):
    def never(*_, **__):
        raise AssertionError("unpickled")

    monkeypatch.setattr(torch, "load", never)
    path = tmp_path / "other.pth"
    path.write_bytes(b"other")
    with pytest.raises(PriorError, match=r"must have SHA-256 6726825d\.\.\., got [0-9a-f]{8}\.\.\. in "):
        open_inception(path)


class Code:
    """A pickle that would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("zipped", [True, False])
def test_code_is_not_run_even_under_the_known_hash(known, tmp_path, zipped):
    trap = tmp_path / "trap"
    path = known({"fc.bias": Code(trap)}, _use_new_zipfile_serialization=zipped)
    with pytest.raises(PriorError, match="must hold tensors and nothing else"):
        open_inception(path)
    assert not trap.exists()
    pickle.loads(pickle.dumps(Code(trap))).close()  # it would have
    assert trap.exists()


def test_another_layout_is_refused(state, known):
    for wrong in (b"", b"no pickle", [1.0]):
        with pytest.raises(PriorError, match=r"Inception weights .* must "):
            open_inception(known(wrong))
    with pytest.raises(PriorError, match="must have the known layout"):
        open_inception(known({k: v for k, v in state.items() if k != "fc.bias"}))
    with pytest.raises(PriorError, match="must have the known layout"):
        open_inception(known(state | {"fc.bias": torch.zeros(1000)}))
