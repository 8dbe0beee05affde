"""Scores of fields that are solids, hollow, blends and nothing."""

import math

import pytest
import torch

from modeseek.experiments.solids.score import DENSE, Judge, Score, densities, filled, lattice, overlap, psnr
from modeseek.experiments.solids.shapes import solids
from modeseek.experiments.solids.views import HELD_OUT, Stock
from modeseek.generators.nerf.base import Field
from modeseek.generators.nerf.renderer import Renderer

EIGHT = solids()
JUDGE = Judge.of(EIGHT, Stock.of(EIGHT, HELD_OUT, 6, 24))


class Exactly(Field):
    """The field that a solid is: dense inside, its colours, white behind; or only a shell of it."""

    def __init__(self, solid, shell: float = math.inf, density: float = 200.0) -> None:
        super().__init__()
        self.solid, self.shell, self.full = solid, shell, density

    def density(self, points):
        depth = -self.solid.distance(points)
        return self.full * ((depth > 0) & (depth < self.shell)), points

    def colour(self, features):
        return self.solid.colour(features)

    def background(self, directions):
        return torch.ones_like(directions)


def renderer(field: Field) -> Renderer:
    return Renderer(field, samples=160)


@pytest.mark.parametrize("number", range(8), ids=[s.name for s in EIGHT])
def test_a_solid_is_found_again(number):
    """NERF-8: filled exactly where it is, from densities alone, and its own pictures are the nearest."""
    score, images = JUDGE.score(renderer(Exactly(EIGHT[number])))
    assert score.solid == number
    assert score.iou == 1.0
    assert score.psnr > 20  # one ray a pixel: its edges are hard
    assert score.on_one
    assert images.shape == (6, 3, 24, 24)


@pytest.mark.parametrize("number", range(8), ids=[s.name for s in EIGHT])
def test_a_hollow_solid_is_filled(number):
    """NERF-8: what is behind a surface does not count, and nothing beside it is added: holes stay holes."""
    density = densities(Exactly(EIGHT[number], shell=0.1))
    assert overlap(filled(density), JUDGE.inside[number]) > 0.97
    assert number not in (0, 2) or overlap(density > DENSE, JUDGE.inside[number]) < 0.75


def test_fog_is_not_inside():
    """NERF-8: optical depth 1 through the whole cube leaves everything lit; 100 nothing but the outermost cells."""
    n = 32
    assert not bool(filled(torch.full((n, n, n), 0.5)).any())
    thick = torch.zeros(n, n, n)
    thick[8:24, 8:24, 8:24] = 4.9  # below DENSE: the middle is dark, the first half of 0.61 is lit
    inside = filled(thick)
    deep = math.ceil(-math.log(0.05) / 4.9 / (2 / n) - 0.5)
    expected = torch.zeros(n, n, n, dtype=torch.bool)
    expected[8 + deep : 24 - deep, 8 + deep : 24 - deep, 8 + deep : 24 - deep] = True
    assert torch.equal(inside, expected)
    assert bool(filled(torch.full((n, n, n), DENSE + 0.1)).all())


def test_overlap():
    a, b = torch.zeros(2, 4, dtype=torch.bool)
    assert overlap(a, b) == 0
    a[:3] = b[1:] = True
    assert overlap(a, b) == 0.5
    assert overlap(a, a) == 1


def test_psnr():
    assert psnr(torch.full((3, 4), 0.1), torch.zeros(3, 4)) == pytest.approx(20.0, abs=1e-5)
    assert psnr(torch.zeros(2), torch.zeros(2)) == 120


def test_the_lattice_is_made_of_cell_middles_along_x_y_z():
    points = lattice(4)
    assert points[0, 1, 3].tolist() == [-0.75, -0.25, 0.75]


def test_blends_are_what_the_mean_picture_scores():
    mean = JUDGE.held.pictures.mean(1)
    assert JUDGE.blends[4] == pytest.approx(psnr(mean, JUDGE.held.pictures[:, 4]))
    assert min(JUDGE.blends) > 10
    assert max(JUDGE.blends) < 20


def test_nothing_and_a_film_are_on_no_solid():
    nothing, _ = JUDGE.score(renderer(Exactly(EIGHT[0], density=0.0)))
    assert (nothing.iou, nothing.on_one) == (0.0, False)


@pytest.mark.parametrize(
    ("iou", "margin", "on_one"), [(0.5, 3.0, True), (0.49, 9.0, False), (0.9, 2.9, False), (0.6, 5.0, True)]
)
def test_on_one_needs_both(iou, margin, on_one):
    assert Score(0, 20.0, margin, iou).on_one == on_one
