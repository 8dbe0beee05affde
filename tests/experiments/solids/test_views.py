"""The stock of cameras, and several fields under the same views."""

import pytest
import torch
from voxels import voxels

from modeseek.errors import UsageError
from modeseek.experiments.solids.shapes import solids
from modeseek.experiments.solids.trace import trace
from modeseek.experiments.solids.views import HELD_OUT, TRAINING, Stock, Watched
from modeseek.randomness import Streams

STOCK = Stock.of(solids()[:2], TRAINING, 5, 10)


def watched(seeds=(0, 1), hold=1):
    return Watched([voxels(s, samples=8) for s in seeds], STOCK.cameras, 10, hold=hold)


def test_a_stock_is_what_its_cameras_see():
    assert STOCK.pictures.shape == (5, 2, 3, 10, 10)
    torch.testing.assert_close(STOCK.pictures[3, 1], trace(solids()[1], STOCK.cameras[[3]], 10, 10)[0][0])


def test_stocks_share_no_camera_and_the_first_stay_as_more_are_drawn():
    held = Stock.of(solids()[:1], HELD_OUT, 5, 4).cameras.position
    assert float(torch.cdist(STOCK.cameras.position, held).min()) > 0.05
    more = Stock.of(solids()[:1], TRAINING, 7, 4).cameras.position
    torch.testing.assert_close(more[:5], STOCK.cameras.position, rtol=0, atol=0)


def test_cameras_stand_all_around():
    high = Stock.of(solids()[:1], TRAINING, 200, 1).cameras.elevation
    assert float(high.min()) < -70
    assert float(high.max()) > 70


def test_all_fields_see_the_first_ones_views():
    view = watched()(Streams([0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2], 4))
    assert view.image.shape == (6, 3, 10, 10)
    assert view.camera.tolist()[:3] == view.camera.tolist()[3:]
    first = watched([0])(Streams(0, [0, 1, 2], 4))
    assert torch.equal(first.camera, view.camera[:3])
    torch.testing.assert_close(first.image, view.image[:3], rtol=0, atol=1e-6)


def test_views_change_with_the_step_unless_held():
    streams = Streams.for_batch(0, 6)
    seen = [tuple(watched([0])(streams.at(step)).camera.tolist()) for step in range(6)]
    assert len(set(seen)) == 6
    held = [tuple(watched([0], hold=3)(streams.at(step)).camera.tolist()) for step in range(6)]
    assert held == [seen[0]] * 3 + [seen[3]] * 3


def test_what_is_rendered_is_differentiable():
    generator = watched([0])
    generator(Streams(0)).image.sum().backward()
    assert float(next(generator.parameters()).grad.abs().sum()) > 0


def test_refuses():
    with pytest.raises(UsageError, match="a field and hold at least 1, got 1 and 0"):
        watched([0], hold=0)
    with pytest.raises(UsageError, match="a field and hold at least 1, got 0 and 1"):
        watched([])
    with pytest.raises(UsageError, match="for each of 2 fields, got 3"):
        watched()(Streams.for_batch(0, 3))
