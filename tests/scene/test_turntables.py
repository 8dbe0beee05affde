"""Walks around balls whose pictures are known."""

from __future__ import annotations

import pytest
import torch
from balls import BLUE, RED, Ball, BallRenderer

from modeseek.cameras import turntable
from modeseek.errors import UsageError
from modeseek.scene.turntables import depth_pictures, normal_pictures, strip, turn, viridis

# red in front of the middle, blue at the object's own left (+x)
PAIR = (Ball((0.0, 0.0, 0.5), 0.3, RED), Ball((0.6, 0.0, 0.0), 0.3, BLUE))


@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_pieces_are_the_whole(at_once: int) -> None:
    render = BallRenderer(PAIR)
    seen = turn(render, views=7, size=21, normals=True, at_once=at_once)
    whole = BallRenderer(PAIR)(turntable(7), 21, 21, normals=True)
    assert render.at_once == min(at_once, 7)
    for got, expected in [
        (seen.image, whole.image),
        (seen.alpha, whole.alpha),
        (seen.depth, whole.depth),
        (seen.normal, whole.normal),
    ]:
        assert torch.allclose(got, expected, atol=1e-5)


def test_it_starts_in_front_and_goes_to_the_objects_left() -> None:
    seen = turn(BallRenderer(PAIR), views=4, size=33, elevation=0.0)
    middle = seen.image[:, :, 16, 16]
    assert torch.allclose(middle[0], torch.tensor(RED))  # the red one in front, the blue one right in the picture
    assert torch.allclose(seen.image[0, :, 16, 23], torch.tensor(BLUE))
    assert torch.allclose(middle[1], torch.tensor(BLUE))  # from its left
    assert torch.allclose(seen.image[1, :, 16, 10], torch.tensor(RED))
    assert torch.allclose(seen.image[3, :, 16, 22], torch.tensor(RED))  # and from its right


def test_depth_is_bright_where_it_is_near_and_white_where_there_is_nothing() -> None:
    near = turn(BallRenderer((Ball((0.0, 0.0, 0.5), 0.3),)), views=2, size=33, elevation=0.0)
    front, back = near.depth_pictures()
    assert (near.near, near.far) == (2.0, 4.0)
    # 3 - 0.8 = 2.2 in front, 3 + 0.2 = 3.2 from behind, of 2 to 4
    assert torch.allclose(front[:, 16, 16], viridis(torch.tensor([[[0.9]]]))[0, :, 0, 0], atol=1e-4)
    assert torch.allclose(back[:, 16, 16], viridis(torch.tensor([[[0.4]]]))[0, :, 0, 0], atol=1e-4)
    assert front[:, 16, 16].sum() > back[:, 16, 16].sum()
    assert bool((front[:, 0, 0] == 1).all())


def test_depth_is_that_of_what_covers() -> None:
    """Half covered at 3: the colour of 3, half on white; alpha divides out of the depth."""
    half = depth_pictures(torch.full((1, 1, 1, 1), 1.5), torch.full((1, 1, 1, 1), 0.5), 2.0, 4.0)
    full = depth_pictures(torch.full((1, 1, 1, 1), 3.0), torch.ones(1, 1, 1, 1), 2.0, 4.0)
    assert torch.allclose(half, 0.5 * full + 0.5)
    nothing = depth_pictures(torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1), 2.0, 4.0)
    assert torch.equal(nothing, torch.ones(1, 3, 1, 1))


def test_colours_of_depth_grow_brighter() -> None:
    table = viridis(torch.linspace(-0.5, 1.5, 101)[None, None])[0, :, 0]
    luminance = torch.tensor([0.2126, 0.7152, 0.0722]) @ table
    assert bool((luminance.diff() >= 0).all())
    assert bool((luminance[26:75].diff() > 0).all())
    matplotlib = pytest.importorskip("matplotlib")
    theirs = torch.tensor(matplotlib.colormaps["viridis"](torch.linspace(0, 1, 51).numpy())[:, :3]).T.float()
    assert float((table[:, 25:76] - theirs).abs().max()) < 0.07  # eight straight pieces


def test_normals_look_at_the_camera() -> None:
    seen = turn(BallRenderer((Ball(),)), views=4, size=33, elevation=0.0, normals=True)
    pictures = seen.normal_pictures()
    axes = torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 0, -1], [-1, 0, 0]])
    assert torch.allclose(pictures[:, :, 16, 16], (axes + 1) / 2, atol=1e-2)
    assert bool((pictures[:, :, 0, 0] == 1).all())
    faint = normal_pictures(torch.tensor([0.0, 0.25, 0.0]).reshape(1, 3, 1, 1), torch.full((1, 1, 1, 1), 0.5))
    assert torch.allclose(faint.flatten(), torch.tensor([0.75, 1.0, 0.75]))  # of unit length, half on white


def test_a_strip_is_one_row() -> None:
    images = torch.rand(3, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    row = strip(images, margin=1)
    assert row.shape == (3, 5, 14)
    for k in range(3):
        assert torch.equal(row[:, :, 5 * k : 5 * k + 4], images[k])


def test_bad_input_is_refused() -> None:
    render = BallRenderer((Ball(),))
    with pytest.raises(UsageError, match="at least 1 view, got 0"):
        turn(render, views=0)
    with pytest.raises(UsageError, match="size and at_once must be at least 1, got 0 and 1"):
        turn(render, size=0)
    with pytest.raises(UsageError, match="distance must be positive"):
        turn(render, distance=0.0)
    with pytest.raises(UsageError, match="outside of the cube"):
        turn(render, distance=0.9)
    with pytest.raises(UsageError, match="made with normals=True"):
        turn(render, views=1).normal_pictures()
    with pytest.raises(UsageError, match="far must be beyond near, got 4 and 2"):
        depth_pictures(torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1), 4, 2)
    with pytest.raises(UsageError, match="a strip must have at least one picture"):
        strip(torch.zeros(0, 3, 4, 4))
