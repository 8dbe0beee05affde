"""Meshes to files and back by trimesh: right way up, right side, right size, right colours."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from balls import BLUE, RED, Ball, Balls
from safetensors import safe_open
from torch import Tensor

from modeseek.errors import RunError, UsageError
from modeseek.scene.export import MATERIAL, encode, linear, write, write_field
from modeseek.scene.mesh import Mesh, extract

trimesh = pytest.importorskip("trimesh")
pytest.importorskip("skimage")
FORMATS = ("glb", "obj", "ply")


class Cone(Balls):
    """Its tip at y = 0.8, its foot of radius 0.6 at y = -0.6."""

    def distances(self, points: Tensor) -> Tensor:
        x, y, z = points.unbind(-1)
        side = (torch.hypot(x, z) - 0.6 * (0.8 - y) / 1.4) * 1.4 / math.hypot(1.4, 0.6)
        return torch.maximum(side, -0.6 - y)[:, None]


def back(mesh: Mesh, path: Path, format: str) -> Any:
    write(mesh, path, format)
    # with a material trimesh leaves the colours out
    return trimesh.load(path, force="mesh", **({"skip_materials": True} if format == "glb" else {}))


def colours(solid: Any, format: str) -> Tensor:
    """As they were written, of the pictures."""
    seen = torch.from_numpy(np.asarray(solid.visual.vertex_colors)[:, :3].copy()).double() / 255
    if format == "glb":  # linear light to sRGB
        seen = torch.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
    return seen


@pytest.mark.parametrize("format", FORMATS)
def test_a_ball_keeps_its_volume_and_place(format: str, tmp_path: Path) -> None:
    ball = Ball((0.3, -0.2, 0.4), 0.4)
    made = extract(Balls(ball), resolution=48)
    solid = back(made, tmp_path / f"ball.{format}", format)
    assert solid.is_watertight
    assert solid.is_winding_consistent
    assert solid.volume == pytest.approx(4 / 3 * math.pi * 0.4**3, rel=0.01)  # positive: it faces outward
    assert solid.volume == pytest.approx(made.volume, rel=1e-4)
    assert np.allclose(solid.center_mass, ball.centre, atol=2e-3)
    assert np.allclose(solid.extents, 0.8, atol=0.01)
    assert len(solid.faces) == len(made.faces)


@pytest.mark.parametrize("format", FORMATS)
def test_a_cone_stands_on_its_foot(format: str, tmp_path: Path) -> None:
    solid = back(extract(Cone(Ball()), resolution=64), tmp_path / f"cone.{format}", format)
    assert solid.is_watertight
    low, high = solid.bounds
    assert low[1] == pytest.approx(-0.6, abs=0.01)
    assert 0.7 < high[1] < 0.81  # the tip is finer than a cell
    assert solid.volume == pytest.approx(math.pi * 0.6**2 * 1.4 / 3, rel=0.03)
    assert solid.center_mass[1] == pytest.approx(-0.6 + 1.4 / 4, abs=0.01)
    foot = solid.vertices[np.abs(solid.vertices[:, 1] + 0.55) < 0.05]
    assert np.hypot(foot[:, 0], foot[:, 2]).max() == pytest.approx(0.6, abs=0.05)


@pytest.mark.parametrize("format", FORMATS)
def test_red_is_left_and_blue_in_front(format: str, tmp_path: Path) -> None:
    """The object's own left is +x, its front +z, in the file too."""
    pair = (Ball((0.5, 0.0, 0.0), 0.3, RED), Ball((-0.3, 0.0, 0.5), 0.3, BLUE))
    solid = back(extract(Balls(*pair), resolution=48), tmp_path / f"pair.{format}", format)
    assert solid.is_watertight
    seen, where = colours(solid, format), torch.from_numpy(np.asarray(solid.vertices).copy())
    nearest = torch.cdist(where, torch.tensor([b.centre for b in pair]).to(where)).argmin(1)
    expected = torch.tensor([RED, BLUE]).double()[nearest]
    assert bool((nearest == 0).any())
    assert bool((nearest == 1).any())
    assert float((seen - expected).abs().max()) < 0.02


@pytest.mark.parametrize("dark", [0.0, 0.02, 0.04045, 0.2, 0.5, 1.0])
def test_linear_light(dark: float) -> None:
    light = float(linear(torch.tensor(dark, dtype=torch.float64)))
    encoded = light * 12.92 if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055
    assert encoded == pytest.approx(dark, abs=1e-6)


def test_a_glb_is_not_lit_again() -> None:
    data = encode(extract(Balls(Ball()), resolution=12))
    assert data[:4] == b"glTF"
    tree = json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])
    assert tree["materials"] == [MATERIAL]
    assert tree["extensionsUsed"] == ["KHR_materials_unlit"]
    assert tree["meshes"][0]["primitives"][0]["material"] == 0
    plain = trimesh.load(trimesh.util.wrap_as_stream(data), file_type="glb", force="mesh")
    assert plain.is_watertight
    assert plain.visual.material.metallicFactor == 0
    painted = trimesh.load(trimesh.util.wrap_as_stream(data), file_type="glb", force="mesh", skip_materials=True)
    red = (linear(torch.tensor(RED)) * 255).round()
    assert np.array_equal(painted.visual.vertex_colors[0][:3], red.numpy())


@pytest.mark.parametrize("format", FORMATS)
def test_the_same_mesh_gives_the_same_file(format: str) -> None:
    made = extract(Balls(Ball()), resolution=12)
    assert encode(made, format) == encode(made, format)


def test_bad_input_is_refused(tmp_path: Path) -> None:
    made = extract(Balls(Ball()), resolution=12)
    with pytest.raises(UsageError, match="must be one of glb, obj, ply, got 'stl'"):
        encode(made, "stl")
    with pytest.raises(UsageError, match="at least 1 face to be written, got none"):
        encode(Mesh(made.vertices, made.faces[:0], made.colours))
    with pytest.raises(RunError, match="must be writable"):
        write(made, tmp_path / "nowhere" / "ball.glb")
    assert not list(tmp_path.iterdir())


def test_a_field_comes_back(tmp_path: Path) -> None:
    field = Balls(Ball())
    field.scale.data.fill_(1.5)
    write_field(field, tmp_path / "field.safetensors", {"prompt": "a ball", "step": "12"})
    with safe_open(tmp_path / "field.safetensors", "pt") as file:
        assert file.metadata() == {"prompt": "a ball", "step": "12"}
        other = Balls(Ball())
        other.load_state_dict({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118
    assert torch.equal(other.scale, field.scale)
    with pytest.raises(UsageError, match=r"metadata must be text by name, got \{'step': 12\}"):
        write_field(field, tmp_path / "other.safetensors", {"step": 12})
    with pytest.raises(RunError, match="must be writable"):
        write_field(field, tmp_path / "nowhere" / "field.safetensors", {})
    assert [p.name for p in tmp_path.iterdir()] == ["field.safetensors"]
