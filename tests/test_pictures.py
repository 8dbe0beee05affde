"""Tensors to files in memory and back."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, features
from torch import Tensor

from modeseek.errors import UsageError
from modeseek.pictures import animation, enlarge, png, read_picture, sheet, to_bytes


def random_image(height: int = 6, width: int = 4, seed: int = 0) -> Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))


def opened(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_bytes_are_rounded_and_clamped() -> None:
    values = torch.tensor([-1.0, 0.0, 0.4 / 255, 0.6 / 255, 0.5, 1.0, 7.0, 254.6 / 255])
    image = values.reshape(1, 1, 8).expand(3, 1, 8).clone().requires_grad_()
    assert to_bytes(image)[0, :, 0].tolist() == [0, 0, 0, 1, 128, 255, 255, 255]
    assert to_bytes(random_image()).shape == (6, 4, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_png_comes_back(dtype: torch.dtype) -> None:
    image = (random_image() * 255).round() / 255
    got = opened(png(image.to(dtype)))
    expected = (image.to(dtype).double() * 255).round().byte().permute(1, 2, 0).numpy()
    assert np.array_equal(got, expected)
    assert png(image) == png(image)


def test_one_picture_is_its_own_sheet() -> None:
    image = random_image()
    assert torch.equal(sheet(image[None]), image)


@pytest.mark.parametrize(("n", "columns", "shape"), [(2, None, (1, 2)), (4, None, (2, 2)), (5, None, (2, 3))])
def test_a_sheet_is_nearly_square(n: int, columns: int | None, shape: tuple[int, int]) -> None:
    out = sheet(torch.zeros(n, 3, 6, 4), columns)
    assert out.shape == (3, shape[0] * 8 - 2, shape[1] * 6 - 2)


def test_a_sheet_on_white() -> None:
    images = torch.stack([random_image(seed=k) for k in range(5)])
    out = sheet(images, columns=3, margin=1)
    assert out.shape == (3, 13, 14)
    for k in range(5):
        top, left = k // 3 * 7, k % 3 * 5
        assert torch.equal(out[:, top : top + 6, left : left + 4], images[k])
    assert bool((out[:, 6, :] == 1).all())  # between the rows
    assert bool((out[:, :, 4] == 1).all())  # between the columns
    assert bool((out[:, 7:, 10:] == 1).all())  # where no sixth picture is


def test_enlarge_repeats_pixels() -> None:
    image = random_image()
    large = enlarge(image, 3)
    assert large.shape == (3, 18, 12)
    assert torch.equal(large[:, 1::3, 2::3], image)
    assert torch.equal(large[:, ::3, ::3], image)


@pytest.fixture
def frames(tmp_path: Path) -> list[Path]:
    paths = []
    for k in range(4):
        paths.append(tmp_path / f"{k}.png")
        paths[-1].write_bytes(png(random_image(16, 16, seed=k)))
    return paths


@pytest.mark.parametrize("webp", [True, False])
def test_an_animation_holds_every_frame(frames: list[Path], webp: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if webp and not features.check("webp"):
        pytest.skip("this Pillow writes no WebP")
    monkeypatch.setattr(features, "check", lambda name: webp)
    data, suffix = animation(frames, milliseconds=70)
    made = Image.open(io.BytesIO(data))
    assert (suffix, made.format) == ((".webp", "WEBP") if webp else (".gif", "GIF"))
    assert made.n_frames == 4
    durations = []
    for k, path in enumerate(frames):
        made.seek(k)
        made.load()
        durations.append(made.info["duration"])
        if webp:  # a GIF has few colours
            assert np.array_equal(np.asarray(made.convert("RGB")), opened(path.read_bytes()))
    assert durations == [70, 70, 70, 1500]
    assert made.info["loop"] == 0


def test_an_animation_of_one_frame(frames: list[Path]) -> None:
    data, suffix = animation(frames[:1])
    assert Image.open(io.BytesIO(data)).n_frames == 1
    if suffix == ".webp":
        assert np.array_equal(opened(data), opened(frames[0].read_bytes()))


def test_a_picture_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(png(random_image(8, 8)))
    expected = torch.from_numpy(to_bytes(random_image(8, 8))).permute(2, 0, 1).float() / 255
    assert torch.equal(read_picture(path, 8), expected)


def test_a_picture_is_cut_to_its_middle_and_resized(tmp_path: Path) -> None:
    image = torch.zeros(3, 8, 24)
    image[0, :, :8], image[1, :, 8:16], image[2, :, 16:] = 1, 1, 1  # red, green, blue
    path = tmp_path / "wide.png"
    path.write_bytes(png(image))
    green = torch.tensor([0.0, 1.0, 0.0]).reshape(3, 1, 1)
    torch.testing.assert_close(
        read_picture(path, 4), green.expand(3, 4, 4), rtol=0, atol=0.1
    )  # Lanczos looks over the edge


def test_what_is_transparent_is_white(tmp_path: Path) -> None:
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[:, :, 0] = 255
    rgba[:2, :, 3] = 255  # the upper half opaque, the lower half not there
    path = tmp_path / "icon.png"
    Image.fromarray(rgba).save(path)
    got = read_picture(path, 4)
    assert got[:, 0, 0].tolist() == [1, 0, 0]
    assert got[:, 3, 0].tolist() == [1, 1, 1]


def test_a_file_that_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no")
    whole = png(random_image(64, 64))
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    for name in ("text.png", "cut.png", "none.png", ""):
        with pytest.raises(UsageError, match="the picture must be a file that Pillow can read, got"):
            read_picture(tmp_path / name, 8)
