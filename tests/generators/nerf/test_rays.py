"""Rays through the cube."""

import torch

from modeseek.generators.nerf.rays import through_cube


def span(origin, direction):
    o, d = (torch.tensor([v], dtype=torch.float64) for v in (origin, direction))
    return tuple(float(v) for v in through_cube(o, torch.nn.functional.normalize(d, dim=-1)))


def test_straight_on_slanted_and_from_a_corner():
    assert span((0, 0, 3), (0, 0, -1)) == (2.0, 4.0)
    near, far = span((2, 0, 0), (-1, 0.5, 0))  # enters at x = 1, y = 0.5 and leaves where y = 1
    assert abs(near - 1.25**0.5) < 1e-12
    assert abs(far - 2 * 1.25**0.5) < 1e-12
    near, far = span((2, 2, 2), (-1, -1, -1))
    assert abs(near - 3**0.5) < 1e-12
    assert abs(far - 3 * 3**0.5) < 1e-12


def test_from_inside_it_starts_at_once():
    assert span((0, 0, 0.5), (0, 0, -1)) == (0.0, 1.5)


def test_a_miss_and_a_cube_behind_have_no_length():
    assert span((0, 3, 3), (0, 0, -1)) == (0.0, 0.0)
    assert span((0, 0, 3), (0, 0, 1)) == (0.0, 0.0)


def test_a_ray_in_a_face_is_a_number():
    near, far = span((1, 0, 3), (0, 0, -1))
    assert (near, far) in ((2.0, 4.0), (0.0, 0.0))


def test_it_agrees_with_points_along_random_rays():
    rng = torch.Generator().manual_seed(0)
    origins = 4 * torch.rand(300, 3, generator=rng, dtype=torch.float64) - 2
    directions = torch.nn.functional.normalize(torch.randn(300, 3, generator=rng, dtype=torch.float64), dim=-1)
    near, far = through_cube(origins, directions)
    t = torch.linspace(0, 8, 8001, dtype=torch.float64)
    inside = ((origins[:, None] + directions[:, None] * t[:, None]).abs() <= 1).all(-1).sum(-1) * 0.001
    assert float((inside - (far - near)).abs().max()) < 2e-3
    assert 50 < int((far > near).sum()) < 300
