"""The frame around a network: batches, ranges, shapes, dtypes."""

import dataclasses

import pytest
import torch

from modeseek.errors import UsageError
from modeseek.metrics import Extractor


def corners(pictures):
    """Mean of each channel and the first pixel's red: (B, 4)."""
    return torch.cat([pictures.mean((2, 3)), pictures[:, :1, 0, 0]], 1)


EXTRACTOR = Extractor("toy:corners", 4, "area", 8, "0" * 64, corners)


def pictures(n=7, height=16, width=16):
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(0))


def test_the_features_are_the_networks():
    images = pictures()
    features = EXTRACTOR(images)
    assert features.dtype == torch.float64
    assert features.shape == (7, EXTRACTOR.dimension)
    assert torch.allclose(features[:, :3], images.double().mean((2, 3)), atol=1e-6)
    assert torch.allclose(features[:, 3], images[:, 0, :2, :2].double().mean((1, 2)), atol=1e-6)


@pytest.mark.parametrize("batch", [1, 3, 7, 100])
def test_the_batch_does_not_matter(batch):
    sizes = []
    spy = dataclasses.replace(EXTRACTOR, network=lambda x: sizes.append(len(x)) or corners(x))
    assert torch.equal(spy(pictures(), batch), EXTRACTOR(pictures()))
    assert max(sizes) == min(batch, 7)
    assert sum(sizes) == 7


def test_the_named_features_say_what_made_them():
    features = EXTRACTOR.features(pictures())
    assert torch.equal(features.values, EXTRACTOR(pictures()))
    assert (features.extractor, features.filter, features.sha256) == ("toy:corners", "area", "0" * 64)


def test_no_graph_is_kept_and_half_precision_is_taken():
    weight = torch.ones((), requires_grad=True)
    learned = dataclasses.replace(EXTRACTOR, network=lambda x: weight * corners(x))
    assert not learned(pictures()).requires_grad
    assert torch.allclose(EXTRACTOR(pictures().half()), EXTRACTOR(pictures()), atol=1e-3)


def test_a_little_outside_is_cut_and_more_is_refused():
    white = torch.ones(1, 3, 8, 8)
    assert torch.equal(EXTRACTOR(white + 5e-4), EXTRACTOR(white))
    for wrong in (2 * white, -white, 255 * white, white * torch.nan):
        with pytest.raises(UsageError, match=r"pictures must lie in \[0, 1\]"):
            EXTRACTOR(wrong)


def test_what_are_no_pictures_is_refused():
    for wrong in (pictures()[0], pictures()[:, :1], pictures()[:0], pictures().byte()):
        with pytest.raises(UsageError, match=r"pictures must be floating \(N, 3, H, W\)"):
            EXTRACTOR(wrong)
    with pytest.raises(UsageError, match="batch must be at least 1, got 0"):
        EXTRACTOR(pictures(), 0)


def test_only_who_says_so_squeezes():
    wide = pictures(width=24)
    with pytest.raises(UsageError, match=r"pictures must be square .* got 16 x 24"):
        EXTRACTOR(wide)
    assert dataclasses.replace(EXTRACTOR, square=False)(wide).shape == (7, 4)
