"""Resize filters: by hand, against Pillow, and against each other."""

import numpy as np
import pytest
import torch
from PIL import Image

from modeseek.errors import UsageError
from modeseek.metrics.resize import FILTERS, resize


def noise(size, seed=0):
    """Pictures (2, 3, size, size) of 8-bit numbers away from the ends, since Pillow cuts between its two passes."""
    levels = torch.randint(64, 192, (2, 3, size, size), generator=torch.Generator().manual_seed(seed))
    return levels.float() / 255


@pytest.mark.parametrize("name", FILTERS)
def test_the_right_size_is_left_alone(name):
    images = noise(16)
    assert resize(images, 16, name) is images


@pytest.mark.parametrize("name", FILTERS)
def test_a_constant_stays_one(name):
    for size in (7, 40):
        out = resize(torch.full((1, 3, 16, 24), 0.3), size, name)
        assert out.shape == (1, 3, size, size)
        assert torch.allclose(out, torch.full_like(out, 0.3), atol=1e-6)


def test_area_is_the_mean_of_the_cells():
    images = noise(12)
    expected = images.reshape(2, 3, 4, 3, 4, 3).mean((3, 5))
    assert torch.allclose(resize(images, 4, "area"), expected, atol=1e-6)


def test_bilinear_has_pixel_centres_at_half_integers():
    """Output pixel i looks at (i + 1/2) W / w - 1/2; TensorFlow 1 looks at i W / w; nothing is averaged beyond two."""
    ramp = torch.arange(16.0).expand(1, 3, 16, 16) / 16
    positions = (torch.arange(40) + 0.5) * 16 / 40 - 0.5
    assert torch.allclose(resize(ramp, 40, "bilinear")[0, 0, 0] * 16, positions.clamp(0, 15), atol=1e-5)
    comb = torch.zeros(1, 3, 16, 16)
    comb[..., ::4] = 1  # a quarter of the columns; at 4 the filter looks between columns 1 and 2 of each four
    assert float(resize(comb, 4, "bilinear").max()) == 0
    assert float(resize(comb, 4, "area").mean()) == 0.25


@pytest.mark.parametrize(("size", "target"), [(64, 24), (32, 32), (24, 50)])
def test_bicubic_is_pillows(size, target):
    """Within the rounding to 8 bits of its two passes."""
    images = noise(size)
    ours = resize(images, target, "bicubic-antialias")
    for picture, row in zip(images, ours):
        levels = Image.fromarray((picture.permute(1, 2, 0) * 255).round().byte().numpy())
        theirs = np.asarray(levels.resize((target, target), Image.Resampling.BICUBIC)) / 255
        assert np.abs(row.permute(1, 2, 0).numpy() - theirs).max() < 1.6 / 255


def test_an_unknown_filter_is_refused():
    with pytest.raises(UsageError, match=r"filter must be one of area, bilinear, bicubic-antialias, got 'lanczos'"):
        resize(noise(8), 8, "lanczos")
