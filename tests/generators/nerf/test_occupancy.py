"""The occupancy grid: what it skips cannot be seen."""

import math

import pytest
import torch
from analytic_fields import Ball, Blob, Even

from modeseek.cameras import turntable
from modeseek.errors import UsageError
from modeseek.generators.nerf.occupancy import OccupancyGrid
from modeseek.generators.nerf.renderer import Renderer
from modeseek.randomness import Streams

VIEWS = turntable(2, elevation=20.0)


def measured(field, resolution=32, **options):
    grid = OccupancyGrid(resolution, **options)
    grid.measure(field, Streams(0))
    return grid


@pytest.mark.parametrize("options", [{}, {"importance": 16}], ids=["even", "importance"])
@pytest.mark.parametrize("resolution", [32, 64])
def test_pictures_with_and_without_agree(options, resolution):
    """A ball that fills a tenth of the cube: a fraction of the points, the same picture."""
    field = Ball(width=(0.8 * 3 / (4 * math.pi)) ** (1 / 3))
    grid = measured(field, resolution)
    with torch.no_grad():
        plain = Renderer(field, samples=48, **options)(VIEWS, 24, 24)
        points, field.evaluated = field.evaluated, 0
        culled = Renderer(field, samples=48, occupancy=grid, **options)(VIEWS, 24, 24)
    assert float((plain.image - culled.image).abs().max()) < 1e-3
    assert float((plain.alpha - culled.alpha).abs().max()) < 1e-3
    assert field.evaluated < 0.5 * points


def test_gradients_with_and_without_agree():
    grads = []
    for grid in (None, measured(Ball())):
        field = Ball()
        Renderer(field, occupancy=grid)(VIEWS.to(torch.float64), 16, 16).image[:, 0].sum().backward()
        grads.append(torch.stack([field.width.grad, *field.centre.grad]))
    assert torch.allclose(grads[0], grads[1], rtol=1e-3, atol=1e-2 * float(grads[0].abs().max()))


def test_what_is_lost_is_bounded_by_the_threshold():
    """The worst case: a field just below it everywhere, straight through the cube."""
    front = turntable(1, elevation=0.0).to(torch.float64)
    for threshold, kept in ((0.2, False), (0.1, True)):
        field = Even(0.15)
        grid = measured(field, 8, threshold=threshold)
        lost = Renderer(field)(front, 1, 1).alpha - Renderer(field, occupancy=grid)(front, 1, 1).alpha
        lost = lost.detach()
        assert abs(float(lost)) <= 1 - math.exp(-threshold * 2)
        assert (float(lost) == 0.0) is kept


def test_cells_are_where_points_say():
    """One cell of density, found from points inside of it and in its neighbours, no farther."""
    grid = OccupancyGrid(8)
    grid.density[(2 * 8 + 3) * 8 + 5] = 1.0
    grid._mark(all_occupied=False)
    cell = torch.tensor([2.5, 3.5, 5.5]) / 4 - 1
    assert bool(grid.occupied(cell))
    assert bool(grid.occupied(cell + torch.tensor([0.25, -0.25, 0.25])))
    assert not bool(grid.occupied(cell + torch.tensor([0.5, 0.0, 0.0])))
    assert int(grid.bits.sum()) == 27
    assert grid.occupied(torch.ones(4, 5, 3)).shape == (4, 5), "the farthest corner belongs to the last cell"


def test_it_is_full_while_it_warms_up_and_looks_only_every_so_often():
    field, grid = Ball(), OccupancyGrid(16, warmup=32, every=16)
    for step in range(0, 48):
        before = field.evaluated
        grid.update(field, Streams(0, step=step), step)
        assert field.evaluated - before == {0: 16**3, 16: 16**3, 32: 16**3 // 4}.get(step, 0)
        assert bool(grid.bits.all()) is (step < 32)


def test_density_that_comes_back_is_found():
    """Also where a renderer has long stopped looking: all cells are looked at in turn."""
    grid = OccupancyGrid(16, warmup=0, every=1, parts=4)
    small, other = Ball(width=0.2, centre=(-0.6, 0.0, 0.0)), Ball(width=0.2, centre=(0.6, 0.0, 0.0))
    for step in range(8):
        grid.update(small, Streams(0, step=step), step)
    there = torch.tensor([0.6, 0.0, 0.0])
    assert not bool(grid.occupied(there))
    assert bool(grid.occupied(-there))
    for step in range(8, 12):
        grid.update(other, Streams(0, step=step), step)
    assert grid.occupied(torch.stack([there, -there])).all(), "what was there is forgotten slowly"
    forgotten = math.ceil(math.log(0.01 / 40) / math.log(0.95)) * 4
    for step in range(12, 12 + forgotten):
        grid.update(other, Streams(0, step=step), step)
    assert grid.occupied(torch.stack([-there, there])).tolist() == [False, True]


def test_it_is_a_function_of_state_step_and_rng():
    field = Ball()

    def after(steps, grid):
        for step in steps:
            grid.update(field, Streams(0, step=step), step)
        return grid

    whole = after(range(40), OccupancyGrid(12, warmup=8, every=4))
    half = after(range(20), OccupancyGrid(12, warmup=8, every=4))
    resumed = OccupancyGrid(12, warmup=8, every=4)
    resumed.load_state_dict(half.state_dict())
    after(range(20, 40), resumed)
    assert torch.equal(whole.density, resumed.density)
    assert torch.equal(whole.bits, resumed.bits)
    other = OccupancyGrid(12, warmup=8, every=4)
    other.update(field, Streams(1), 0)
    assert not torch.equal(other.density, after([0], OccupancyGrid(12, warmup=8, every=4)).density)


def test_a_renderer_keeps_it_in_its_state():
    renderer = Renderer(Blob(), occupancy=measured(Blob()))
    assert {"occupancy.density", "occupancy.bits"} <= set(renderer.state_dict())
    assert not any(name.startswith("occupancy") for name, _ in renderer.named_parameters())


@pytest.mark.parametrize(
    "options", [{"resolution": 0}, {"every": 0}, {"warmup": -1}, {"decay": 0.0}, {"threshold": -1}]
)
def test_bad_options(options):
    with pytest.raises(UsageError, match="must be"):
        OccupancyGrid(**options)


def test_it_takes_one_stream():
    with pytest.raises(UsageError, match="one stream of random numbers, got 2"):
        OccupancyGrid(4).update(Blob(), Streams(0, range(2)), 0)
