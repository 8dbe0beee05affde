"""Surfaces of fields whose surfaces are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from balls import BLUE, RED, Ball, Balls
from torch import Tensor

from modeseek.errors import NonFiniteError, UsageError
from modeseek.generators.nerf.base import Field
from modeseek.scene import mesh as module
from modeseek.scene.mesh import Mesh, extract, outward, surface

pytest.importorskip("skimage")


class Given(Field):
    """Any density; coloured by position."""

    def __init__(self, density) -> None:
        super().__init__()
        self.of = density

    def density(self, points: Tensor) -> tuple[Tensor, Tensor]:
        return self.of(points), points

    def colour(self, features: Tensor) -> Tensor:
        return (features + 1) / 2

    def background(self, directions: Tensor) -> Tensor:
        return torch.ones_like(directions)


def tetrahedron() -> Mesh:
    corners = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]) + torch.tensor([5.0, -2.0, 3.0])
    return Mesh(corners, torch.tensor([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]), torch.zeros(4, 3))


def test_volume_of_a_tetrahedron() -> None:
    """MESH-2, wherever it stands; negative when it is turned inside out."""
    solid = tetrahedron()
    assert solid.volume == pytest.approx(1 / 6, abs=1e-12)
    assert Mesh(solid.vertices, solid.faces.flip(-1), solid.colours).volume == pytest.approx(-1 / 6, abs=1e-12)
    assert solid.open_edges == 0
    assert Mesh(solid.vertices, solid.faces[:3], solid.colours).open_edges == 3


def test_vertices_stand_where_the_linear_density_is_the_threshold() -> None:
    """MESH-1: for each edge of the grid across the threshold one vertex, at its place by hand."""
    n = 6
    inner = np.random.default_rng(0).uniform(0, 20, (n, n, n)).astype(np.float32)
    inner[[0, -1]] = inner[:, [0, -1]] = inner[:, :, [0, -1]] = 0.0  # nothing at the border
    vertices, _ = surface(np.pad(inner, 1), 10.0)
    axis, expected = np.linspace(-1, 1, n), []
    for i, j, k in np.ndindex(n, n, n):
        for along in range(3):
            there = tuple(np.add((i, j, k), np.eye(3, dtype=int)[along]))
            if max(there) < n and (inner[i, j, k] > 10) != (inner[there] > 10):
                share = (10 - inner[i, j, k]) / (inner[there] - inner[i, j, k])
                start, end = axis[[i, j, k]], axis[list(there)]
                expected.append(start + share * (end - start))
    apart = torch.cdist(vertices.double(), torch.tensor(np.array(expected)))
    assert len(vertices) == len(expected) > 100
    assert float(apart.amin(1).max()) < 1e-5
    assert float(apart.amin(0).max()) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_ball_off_the_centre(dtype: torch.dtype) -> None:
    """Volume, place, size and orientation; the error falls with the square of the cell."""
    ball = Ball((0.2, -0.3, 0.1), 0.45)
    true = 4 / 3 * math.pi * ball.radius**3
    field = Balls(ball, dtype=dtype)
    errors = []
    for resolution in (24, 48):
        made = extract(field, resolution=resolution)
        radii = (made.vertices - torch.tensor(ball.centre)).square().sum(-1).sqrt()
        assert made.open_edges == 0
        assert float((radii - ball.radius).abs().max()) < (2 / (resolution - 1)) ** 2
        assert torch.allclose((made.vertices.amax(0) + made.vertices.amin(0)) / 2, torch.tensor(ball.centre), atol=1e-2)
        away = torch.nn.functional.normalize(made.vertices - torch.tensor(ball.centre), dim=-1)
        assert float((outward(made.vertices, made.faces) * away).sum(-1).min()) > 0.9
        errors.append(abs(made.volume - true) / true)
    assert errors[1] < 0.006
    assert 2.5 < errors[0] / errors[1] < 6


def test_the_threshold_is_a_density() -> None:
    """The density of these balls falls by 40 a unit: at 20 the surface is a quarter of a unit further in."""
    made = extract(Balls(Ball(radius=0.6), level=10.0, slope=40.0), resolution=64, threshold=20.0)
    assert float(made.vertices.square().sum(-1).sqrt().mean()) == pytest.approx(0.35, abs=1e-3)


def test_what_touches_the_border_is_closed_there() -> None:
    full = extract(Given(lambda p: torch.full_like(p[:, 0], 30.0)), resolution=9)
    assert full.open_edges == 0
    assert full.volume == pytest.approx(8, rel=0.02)
    assert float(full.vertices.abs().max()) == pytest.approx(1, abs=0.26 / 100)
    half = extract(Given(lambda p: 10.0 + 20 * p[:, 1]), resolution=9)  # dense where y > 0
    assert half.open_edges == 0
    assert half.volume == pytest.approx(4, rel=0.02)
    assert float(half.vertices[:, 1].min()) == pytest.approx(0, abs=1e-5)


def test_even_noise_is_closed() -> None:
    """Also for programs that merge vertices at one place, as trimesh does."""
    trimesh = pytest.importorskip("trimesh")
    rng = np.random.default_rng(0)
    for threshold in (4.0, 8.0, 10.0, 12.0, 16.0) * 4:
        values = rng.uniform(0, 20, (9, 9, 9)).astype(np.float32)
        vertices, faces = surface(np.pad(values, 1), threshold)
        assert Mesh(vertices, faces, vertices).open_edges == 0
        assert trimesh.Trimesh(vertices.numpy(), faces.numpy()).is_watertight
        assert Mesh(vertices, faces, vertices).volume > 0


def test_colours_are_those_of_the_field_half_a_cell_inside() -> None:
    pair = (Ball((-0.5, 0.0, 0.0), 0.3, RED), Ball((0.5, 0.0, 0.0), 0.3, BLUE))
    made = extract(Balls(*pair), resolution=48)
    left = made.vertices[:, :1] < 0
    assert torch.allclose(made.colours, torch.where(left, torch.tensor(RED), torch.tensor(BLUE)))
    field = Given(lambda p: 10 + 40 * (0.5 - p.square().sum(-1).sqrt()))
    made = extract(field, resolution=33)  # cells of 1/16
    inside = (made.colours * 2 - 1).square().sum(-1).sqrt()
    assert float((inside - (0.5 - 1 / 32)).abs().max()) < 5e-3


def test_floaters_go_and_the_rest_stays() -> None:
    balls = (Ball((-0.4, 0.0, 0.0), 0.4, RED), Ball((0.6, 0.5, 0.0), 0.2, BLUE), Ball((0.6, -0.6, 0.0), 0.1, RED))
    field = Balls(*balls)  # volumes as 64 : 8 : 1
    sizes = [4 / 3 * math.pi * b.radius**3 for b in balls]
    for share, kept in ((0.0, 3), (0.05, 2), (0.5, 1)):
        made = extract(field, resolution=64, floaters=share)
        assert made.volume == pytest.approx(sum(sizes[:kept]), rel=0.02)
        assert made.open_edges == 0
        assert len(made.colours) == len(made.vertices) == int(made.faces.max()) + 1
    assert torch.allclose(made.colours, torch.tensor(RED).expand_as(made.colours))


def test_pieces_are_the_whole() -> None:
    field = Balls(Ball((0.1, 0.2, 0.3), 0.4))
    whole, pieces = extract(field, resolution=17, chunk=10**6), extract(field, resolution=17, chunk=100)
    for a, b in ((whole.vertices, pieces.vertices), (whole.faces, pieces.faces), (whole.colours, pieces.colours)):
        assert torch.equal(a, b)


def test_an_empty_field_says_what_would_give_something() -> None:
    faint = Balls(Ball(radius=0.5), level=1.0, slope=4.0)  # at most 3, in the middle
    with pytest.raises(UsageError, match=r"denser than the threshold 10: at most 3; threshold 1.5 would give") as said:
        extract(faint, resolution=17)
    assert "\n" not in str(said.value)
    assert len(extract(faint, resolution=17, threshold=1.5).faces) > 0
    with pytest.raises(UsageError, match="at most 0; the field is empty"):
        extract(Given(lambda p: torch.zeros_like(p[:, 0])), resolution=5)


def test_a_mesh_that_does_not_fit_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "available", lambda: 2**30)
    with pytest.raises(UsageError, match=r"resolution 1024 needs 8.\d\d GiB of memory, and there is 1 GiB") as said:
        extract(Balls(Ball()), resolution=1024)
    fits = int(str(said.value).split("resolution ")[2].split()[0])
    assert fits >= 400
    module.refuse_too_large(fits)
    for left in (10**6, 10**7, 10**8):  # the less there is, the more the surface counts
        monkeypatch.setattr(module, "available", lambda left=left: left)
        with pytest.raises(UsageError, match="would fit") as said:
            module.refuse_too_large(1024)
        fits = int(str(said.value).split("resolution ")[2].split()[0])
        module.refuse_too_large(fits)
        with pytest.raises(UsageError, match="would fit"):
            module.refuse_too_large(fits + 16)
    monkeypatch.setattr(module, "available", lambda: 1000)
    with pytest.raises(UsageError, match="none would fit"):
        module.refuse_too_large(1024)
    monkeypatch.setattr(module, "available", lambda: None)
    module.refuse_too_large(10**5)  # where nobody knows, nobody is refused


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"resolution": 1}, "resolution must be at least 2, got 1"),
        ({"threshold": 0.0}, "threshold must be a positive density, got 0.0"),
        ({"threshold": math.inf}, "threshold must be a positive density, got inf"),
        ({"floaters": 1.0}, "floaters must be in"),
        ({"chunk": 0}, "chunk at least 1, got 0.0 and 0"),
    ],
)
def test_bad_input_is_refused(options: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        extract(Balls(Ball()), **options)


def test_a_density_that_is_not_finite_is_named() -> None:
    with pytest.raises(NonFiniteError, match="density must be finite, got nan"):
        extract(Given(lambda p: p[:, 0] * torch.nan), resolution=4)
