import sys

import numpy as np
import pytest
import torch
from PIL import Image

from modeseek.densities import open_set, picture_density
from modeseek.densities.picture import read_grey, shipped_grey
from modeseek.errors import UsageError
from modeseek.planar import PICTURES

INK = torch.ones(8, 12)
INK[1:3, 2:10] = 0.0  # a dark bar near the top
INK[3:7, 2:4] = 0.5


def test_y_points_up_and_dark_is_dense_on_light():
    m = picture_density(INK).mixture
    assert len(m.means) == 2 * 8 + 4 * 2
    weights = m.log_weights.exp()
    heavy = weights > weights.max() / 1.5
    assert int(heavy.sum()) == 16
    assert m.means[heavy, 1].min() > m.means[~heavy, 1].max(), "the bar is at the top"
    assert float(weights.max() / weights.min()) == pytest.approx(2.0)
    assert float(m.means[~heavy, 0].max()) < 0, "and its foot on the left"


def test_the_rarer_tone_is_dense_unless_told():
    dark, light = picture_density(INK).mixture, picture_density(1 - INK).mixture
    torch.testing.assert_close(dark.means, light.means)
    torch.testing.assert_close(dark.log_weights, light.log_weights)
    assert len(picture_density(INK, dark_is_dense=False).mixture.means) == 96 - 16


@pytest.mark.parametrize("range_", [(0.0, 1.0), (0.0, 255.0), (-3.0, 7.0)])
def test_scale_is_the_laboratorys_whatever_the_range(range_):
    low, high = range_
    m = picture_density(low + (high - low) * INK).mixture
    w = m.log_weights.exp()
    assert (w @ m.means).abs().max() < 1e-12
    variance = w @ (m.means**2 + m.covariances.diagonal(dim1=-2, dim2=-1))
    assert float(variance.mean().sqrt()) == pytest.approx(0.5)
    torch.testing.assert_close(w, picture_density(INK).mixture.log_weights.exp())
    pitch = m.means[:, 0].unique().diff().min()
    assert float(m.covariances[0, 0, 0].sqrt() / pitch) == pytest.approx(0.5)


def test_reduced_by_averages():
    """Four times the pixels, each repeated, at the resolution of the first: the same density."""
    large = INK.repeat_interleave(4, 0).repeat_interleave(4, 1)
    m, expected = picture_density(large, resolution=12).mixture, picture_density(INK).mixture
    torch.testing.assert_close(m.means, expected.means)
    torch.testing.assert_close(m.log_weights, expected.log_weights)
    tall = picture_density(torch.rand(500, 20, generator=torch.Generator().manual_seed(0))).mixture
    assert len(tall.means[:, 1].unique()) <= 96


def test_files(tmp_path):
    """8 bits, 16 bits and colours with transparency, over white, give the density of the tensor."""
    expected = picture_density(INK).mixture.log_weights
    grey = INK.numpy()
    path = tmp_path / "ink.png"
    Image.fromarray(np.round(grey * 254).astype(np.uint8)).save(path)
    torch.testing.assert_close(open_set(str(path)).mixture.log_weights, expected)
    assert open_set(str(path)).name == "ink"
    Image.fromarray(np.round(grey * 60000).astype(np.uint16)).save(path)
    torch.testing.assert_close(picture_density(path).mixture.log_weights, expected)
    rgba = np.zeros((8, 12, 4), np.uint8)
    rgba[..., 3] = np.round((1 - grey) * 254)
    Image.fromarray(rgba).save(path)
    torch.testing.assert_close(picture_density(path).mixture.log_weights, expected, rtol=0, atol=0.01)


def test_bad_files(tmp_path):
    with pytest.raises(UsageError, match="must be a file"):
        picture_density(tmp_path / "none.png")
    with pytest.raises(UsageError, match="must be a file"):
        read_grey(tmp_path)
    text = tmp_path / "text.png"
    text.write_text("no picture")
    with pytest.raises(UsageError, match="picture that Pillow can read"):
        picture_density(text)
    whole = tmp_path / "whole.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)).save(whole)
    text.write_bytes(whole.read_bytes()[:1000])
    with pytest.raises(UsageError, match="picture that Pillow can read"):
        open_set(str(text))


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (torch.full((4, 4), 0.3), "more than one shade"),
        (torch.zeros(4, 4), "more than one shade"),
        (INK.index_fill(0, torch.tensor([0]), torch.nan), "finite"),
        (INK * torch.inf, "finite"),
        (torch.rand(3, 4, 4), r"\(H, W\)"),
        (torch.rand(0, 4), r"\(H, W\)"),
    ],
)
def test_bad_pictures(image, says):
    with pytest.raises(UsageError, match=says):
        picture_density(image)


def test_bad_resolution():
    with pytest.raises(UsageError, match="resolution"):
        picture_density(INK, resolution=0)


def test_open_set_by_name():
    assert open_set("moons").name == "moons"
    assert open_set("moons", torch.float32).mixture.means.dtype == torch.float32
    with pytest.raises(UsageError, match="Did you mean 'pinwheel'"):
        open_set("pinweel")
    with pytest.raises(UsageError, match="Did you mean 'astronaut'"):
        open_set("astronaught")
    with pytest.raises(UsageError, match=r"got 'no/such/file\.png'"):
        open_set("no/such/file.png")


def test_every_shipped_picture_opens_without_a_download(monkeypatch):
    pytest.importorskip("skimage")
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("it wants the network"))
    for name in PICTURES:
        assert shipped_grey(name).ndim == 2
    horse = open_set("horse")
    assert horse.name == "horse"
    w = horse.mixture.log_weights.exp()
    assert float(w.min() / w.max()) < 1, "grey edges"
    with pytest.raises(UsageError, match="one of astronaut"):
        shipped_grey("eagle")


def test_without_scikit_image(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    monkeypatch.setitem(sys.modules, "skimage.data", None)
    with pytest.raises(UsageError, match=r'pip install "modeseek\[plots\]"'):
        open_set("coins")
