"""The solids: distances that are ones, colours that stay with their points, eight that differ."""

import math

import pytest
import torch

from modeseek.errors import UsageError
from modeseek.experiments.solids.shapes import Part, Solid, ball, box, ring, solids, tapered

EIGHT = solids()
RNG = torch.Generator().manual_seed(0)
POINTS = 2 * torch.rand(20_000, 3, generator=RNG, dtype=torch.float64) - 1
VOLUMES = {  # where it is a closed form
    "sphere": 4 / 3 * math.pi * 0.6**3,
    "torus": 2 * math.pi**2 * 0.48 * 0.22**2,
    "cube": 0.9**3,
    "balls": 4 / 3 * math.pi * (0.36**3 + 0.3**3),
    "cone": math.pi / 3 * 0.6**2 * 1.4,
    "cross": 3 * 1.4 * 0.32**2 - 2 * 0.32**3,
}


@pytest.mark.parametrize("solid", EIGHT, ids=lambda s: s.name)
def test_stays_in_its_cube_and_has_its_volume(solid):
    inside = solid.occupied(POINTS)
    assert float(POINTS[inside].abs().max()) < 0.8
    if solid.name in VOLUMES:
        share = VOLUMES[solid.name] / 8
        assert abs(float(inside.double().mean()) - share) < 5 * math.sqrt(share / len(POINTS))


@pytest.mark.parametrize("solid", EIGHT, ids=lambda s: s.name)
def test_distances_never_overshoot(solid):
    """1-Lipschitz: a ball of that radius around a point outside holds nothing of the solid."""
    a, b = POINTS[::2], POINTS[1::2]
    apart = (a - b).norm(dim=1)
    assert bool(((solid.distance(a) - solid.distance(b)).abs() <= apart + 1e-12).all())


def test_distances_of_the_simple_ones():
    p = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 2.0, 0.0]], dtype=torch.float64)
    assert ball(0.5)(p).tolist() == [1.5, -0.5, 1.5]
    assert box((0.5, 1.0, 0.5))(p).tolist() == [1.5, -0.5, 1.0]
    assert ring(1.0, 0.25)(p).tolist() == pytest.approx([0.75, 0.75, 5**0.5 - 0.25])
    assert tapered(0.5, 0.5, 1.0)(p).tolist() == [1.5, -0.5, 1.0]
    assert tapered(0.5, 0.5, 1.0, axis=0)(p).tolist() == [1.0, -0.5, 1.5]
    cone = tapered(1.0, 0.0, 0.5)  # from radius 1 at y = -1/2 to the tip at 1/2: the mantle stands at 45 degrees
    assert float(cone(p[1:2])) == pytest.approx(-0.5 / 2**0.5)


def test_normals_point_outward():
    on = torch.nn.functional.normalize(POINTS[:100], dim=1)
    torch.testing.assert_close(Solid("b", (Part(ball(1.0), (1, 1, 1)),)).normal(on), on, rtol=0, atol=1e-5)


def test_colours_are_their_parts_and_the_light_comes_from_above():
    mug = next(s for s in EIGHT if s.name == "mug")
    body, handle = mug.colour(torch.tensor([[-0.15, 0.5, 0.0], [0.55, 0.09, 0.0]], dtype=torch.float64))
    for seen, part in ((body, mug.parts[0]), (handle, mug.parts[1])):
        shade = seen / torch.tensor(part.colour, dtype=seen.dtype)
        torch.testing.assert_close(shade, shade[:1].expand(3), rtol=1e-6, atol=0)
    top, bottom = EIGHT[2].colour(torch.tensor([[0.0, 0.45, 0.0], [0.0, -0.45, 0.0]], dtype=torch.float64))
    assert bool((top > 1.2 * bottom).all())
    assert all(float(s.colour(POINTS).min()) >= 0 and float(s.colour(POINTS).max()) <= 1 for s in EIGHT)


def test_the_eight_differ():
    assert len({s.name for s in EIGHT}) == len(EIGHT) == 8
    inside = torch.stack([s.occupied(POINTS) for s in EIGHT]).double()
    overlap = inside @ inside.T / (inside.sum(1)[:, None] + inside.sum(1) - inside @ inside.T)
    assert float((overlap - torch.eye(8)).max()) < 0.75  # a ball and a cube of one size share three quarters


def test_refuses():
    with pytest.raises(UsageError, match="at least one part, got none"):
        Solid("nothing", ())
