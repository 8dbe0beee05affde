"""Sphere tracing against closed forms: a ball's silhouette and depth, which side is which, colours that stay."""

import math

import pytest
import torch

from modeseek.cameras import Cameras
from modeseek.errors import UsageError
from modeseek.experiments.solids.shapes import Part, Solid, ball, box, solids
from modeseek.experiments.solids.trace import march, pictures, trace

FRONT = Cameras.look_at(*(torch.tensor([v], dtype=torch.float64) for v in (0.0, 0.0, 3.0, 40.0)))
RED = (0.9, 0.1, 0.1)


def one(distance):
    return Solid("one", (Part(distance, RED),))


def test_depth_of_a_ball_is_the_roots():
    """|o + t d| = r, the smaller t, ray by ray."""
    _, alpha, depth = trace(one(ball(0.6)), FRONT, 41, 33, across=1)
    o, d = FRONT.rays(41, 33)
    b = (o * d).sum(-1)
    under = b**2 - o.square().sum(-1) + 0.6**2
    expected = torch.where(under > 0, -b - under.clamp(min=0).sqrt(), 0.0)
    clear = under.abs() > 1e-3  # a ray that grazes comes within the tolerance
    assert torch.equal(alpha[:, 0][clear] > 0, (under > 0)[clear])
    torch.testing.assert_close(depth[:, 0][clear], expected[clear], rtol=0, atol=2e-3)
    square = clear & (under > 0.2)  # where the ray does not graze, as near as the tolerance says
    torch.testing.assert_close(depth[:, 0][square], expected[square], rtol=0, atol=2e-4)


def test_the_share_of_a_ball_in_the_picture():
    """A cone of half angle asin(r / d) cuts a disc of radius tan of it out of the picture plane."""
    _, alpha, _ = trace(one(ball(0.6)), FRONT, 64, 64, across=4)
    side = 2 * math.tan(math.radians(20))
    expected = math.pi * math.tan(math.asin(0.2)) ** 2 / side**2
    assert float(alpha.mean()) == pytest.approx(expected, rel=2e-3)
    soft = (alpha > 0) & (alpha < 1)
    assert 0 < float(soft.double().mean()) < 0.05  # edges, and edges alone


@pytest.mark.parametrize(
    ("centre", "rows", "columns"),
    [((0.5, 0, 0), slice(None), slice(16, 32)), ((0, 0.5, 0), slice(0, 16), slice(None))],
    ids=["x is right", "y is up"],
)
def test_which_side_is_which(centre, rows, columns):
    _, alpha, _ = trace(one(ball(0.2, centre)), FRONT, 32, 32)
    assert float(alpha[0, 0, rows, columns].sum()) == float(alpha.sum()) > 0


def test_colours_stay_with_their_points():
    """The top face of a cube has one colour, from wherever it is seen; the background is white."""
    cameras = Cameras.look_at(
        torch.tensor([0.0, 90.0, 200.0]),
        torch.tensor([80.0, 60.0, 45.0]),
        torch.full((3,), 3.0),
        torch.full((3,), 40.0),
    )
    cube = one(box((0.45, 0.45, 0.45)))
    image, alpha, _ = trace(cube, cameras, 33, 33)
    top = cube.colour(torch.tensor([[0.0, 0.45, 0.0]]))[0]
    for k in range(3):
        same = (image[k] - top[:, None, None]).abs().amax(0) < 1e-4
        assert int(same.sum()) > 30
    torch.testing.assert_close(image[(alpha == 0).expand_as(image)], torch.ones(3 * int((alpha == 0).sum())))


def test_the_nearer_part_hides_the_other():
    two = Solid("two", (Part(ball(0.3, (0, 0, -0.4)), (0, 0, 1)), Part(ball(0.3, (0, 0, 0.4)), (1, 0, 0))))
    red, _, blue = trace(two, FRONT, 9, 9)[0][0, :, 4, 4].tolist()
    assert red > 0.5
    assert blue < 1e-6


def test_rays_that_miss():
    far, hit = march(
        one(ball(0.5)), torch.tensor([[0.0, 2.0, 3.0], [0, 0, 3]]), torch.tensor([[0.0, 0, -1], [0, 0, 1]])
    )
    assert not bool(hit.any())
    assert bool(far.isfinite().all())


def test_pictures_are_laid_out_view_by_view():
    cameras = Cameras.look_at([0.0, 70.0], [10.0], [3.0], [40.0])
    both = solids()[1:3]
    laid = pictures(both, cameras, 12)
    assert laid.shape == (2, 2, 3, 12, 12)
    torch.testing.assert_close(laid[1, 0], trace(both[0], cameras[[1]], 12, 12)[0][0])


def test_refuses():
    with pytest.raises(UsageError, match="at least 1 ray across"):
        trace(solids()[0], FRONT, 8, 8, across=0)
