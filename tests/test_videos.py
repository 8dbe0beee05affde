"""Frames to videos and back, decoded by imageio and Pillow."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image, features
from torch import Tensor

from modeseek import videos
from modeseek.errors import UsageError
from modeseek.videos import animated, video


def frames(n: int = 7, height: int = 32, width: int = 48) -> Tensor:
    """Smooth, each unlike the others: a bright band that moves right over a slope of two colours."""
    v, u = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    bands = [torch.exp(-(((u - (k + 0.5) / n) / 0.15) ** 2)) for k in range(n)]
    return torch.stack([torch.stack([band, 0.2 + 0.6 * v, 0.8 - 0.6 * u]) for band in bands])


def off(shown: Tensor, got: np.ndarray) -> float:
    """Mean difference, of 1."""
    return float((shown.movedim(1, -1) - torch.from_numpy(got[..., :3].copy()) / 255).abs().mean())


@pytest.mark.parametrize("size", [(32, 48), (33, 47)], ids=["even", "odd"])
def test_an_mp4_comes_back(size: tuple[int, int]) -> None:
    pytest.importorskip("av")
    iio = pytest.importorskip("imageio.v3")
    shown = frames(7, *size)
    data, suffix = video(shown, fps=12)
    assert suffix == ".mp4"
    got = iio.imread(data, plugin="pyav")
    h, w = size
    assert got.shape == (7, h + h % 2, w + w % 2, 3)  # even sides, as H.264 wants
    assert off(shown, got[:, :h, :w]) < 0.02
    assert off(shown.flip(0), got[:, :h, :w]) > 0.05  # and in their order
    if w % 2:
        assert np.abs(got[:, :, -1].astype(int) - got[:, :, -2]).mean() < 6  # the last column twice
    assert iio.immeta(data, plugin="pyav")["fps"] == 12
    assert iio.immeta(data, plugin="pyav")["codec"] == "h264"


def test_one_frame_is_a_video() -> None:
    pytest.importorskip("av")
    iio = pytest.importorskip("imageio.v3")
    assert iio.imread(video(frames(1))[0], plugin="pyav").shape[0] == 1


def test_the_same_frames_give_the_same_bytes() -> None:
    assert video(frames()) == video(frames())
    assert animated(frames(), 24) == animated(frames(), 24)


@pytest.mark.parametrize("webp", [True, False])
def test_without_an_encoder_it_is_an_animation(webp: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if webp and not features.check("webp"):
        pytest.skip("this Pillow writes no WebP")
    monkeypatch.setattr(videos, "encoder", lambda: None)
    monkeypatch.setattr(features, "check", lambda name: webp)
    shown = frames(5, 33, 47)
    data, suffix = video(shown, fps=10)
    assert suffix == (".webp" if webp else ".gif")
    opened = Image.open(io.BytesIO(data))
    got = []
    for k in range(opened.n_frames):
        opened.seek(k)
        opened.load()
        assert opened.info["duration"] == 100
        got.append(np.asarray(opened.convert("RGB")))
    assert np.stack(got).shape == (5, 33, 47, 3)
    assert off(shown, np.stack(got)) < 0.04
    assert opened.info["loop"] == 0


def test_an_encoder_that_is_missing_is_no_error() -> None:
    code = "import sys; sys.modules['av'] = None; import torch; from modeseek.videos import video\n"
    code += "print(video(torch.rand(2, 3, 8, 8))[1])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() in {".webp", ".gif"}, done.stderr


def test_values_outside_are_clamped() -> None:
    assert video(torch.full((2, 3, 16, 16), 7.0)) == video(torch.ones(2, 3, 16, 16))


@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (2, 1, 8, 8), (3, 8, 8), (2, 3, 0, 8)])
def test_no_frames_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="frames must be at least one picture"):
        video(torch.zeros(shape))


@pytest.mark.parametrize("fps", [0, -1, 101])
def test_a_frame_rate_out_of_range_is_refused(fps: int) -> None:
    with pytest.raises(UsageError, match="fps must be between 1 and 100"):
        video(frames(1), fps=fps)
