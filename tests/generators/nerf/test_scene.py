"""The generator: its cameras, its stages, what it adds to the loop, and that a view is its own."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from modeseek.cameras import Orbit
from modeseek.distillation import distill
from modeseek.errors import UsageError
from modeseek.estimators.base import Estimate
from modeseek.generators import Encoded, View, render
from modeseek.generators.nerf import Field, NeRF, OccupancyGrid, Regularisers, Renderer, Stage
from modeseek.randomness import Streams


class Ball(Field):
    """A soft ball of one colour, with both as parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.dense, self.paint = nn.Parameter(torch.tensor(2.0)), nn.Parameter(torch.zeros(3))

    def density(self, points: Tensor) -> tuple[Tensor, Tensor]:
        return self.dense * 8 * torch.sigmoid(20 * (0.6 - points.norm(dim=-1))), points

    def colour(self, features: Tensor) -> Tensor:
        return (self.paint + features).sigmoid()

    def background(self, directions: Tensor) -> Tensor:
        return torch.ones_like(directions)


def scene(size: int = 12, hold: int = 1, **options: object) -> NeRF:
    field = Ball()
    stages = (Stage(0, 6, Renderer(field, samples=8)), Stage(4, 12, Renderer(field, samples=16)))
    return NeRF(stages, Orbit(), size=size, hold=hold, **options)  # type: ignore[arg-type]


def at(step: int, views: int = 2) -> Streams:
    return Streams.for_batch(0, views).at(step)


def test_it_is_a_generator() -> None:
    view = render(scene())(at(0))
    assert view.image.shape == (2, 3, 12, 12)
    assert len(view.camera) == 2
    assert view.loss is None
    assert 0 <= float(view.image.min()) <= float(view.image.max()) <= 1


def test_in_float64_it_is_the_same_view() -> None:
    """Cameras are of the field's type; so are those that are looked from."""
    weights = Regularisers(sparsity=1.0, orientation=1.0, smoothness=1.0, distortion=1.0)
    single, double = scene(regularisers=weights), scene(regularisers=weights).double()
    one, other = single(at(0)), double(at(0))
    assert (other.image.dtype, other.loss.dtype) == (torch.float64, torch.float64)
    torch.testing.assert_close(other.image.float(), one.image, rtol=0, atol=1e-4)
    seen = double.look(one.camera, 4, 4, normals=True)
    assert (seen.image.dtype, seen.normal.dtype) == (torch.float64, torch.float64)


def test_a_view_is_the_same_in_any_batch() -> None:
    nerf = scene()
    many, one = nerf(at(5, 4)), nerf(Streams(0, [2]).at(5))
    assert torch.equal(many.camera[[2]].pose, one.camera.pose)
    torch.testing.assert_close(many.image[2:3], one.image)


def test_every_step_has_its_cameras_and_held_steps_share_them() -> None:
    poses = [scene(hold=3).cameras(at(step)).pose for step in range(7)]
    same = [torch.equal(a, b) for a, b in itertools.pairwise(poses)]
    assert same == [True, True, False, True, True, False]
    nerf = scene(hold=3)
    assert not torch.equal(nerf(at(4)).image, nerf(at(5)).image)  # samples along the rays are drawn anew


def test_cameras_share_no_numbers_with_the_estimator() -> None:
    """The estimator draws from the streams themselves, and a product sampler from their repetitions."""
    streams = at(0)
    drawn = streams.uniform((2, 4))
    assert not torch.allclose(streams.at(0).branch(-1).uniform((2, 4)), drawn)
    assert not torch.allclose(streams.at(0).repeat(1).uniform((2, 4)), streams.at(0).branch(-1).uniform((2, 4)))


def test_stages() -> None:
    nerf = scene()
    assert [nerf.stage(step).side for step in (0, 3, 4, 99)] == [6, 6, 12, 12]
    coarse, fine = nerf(at(3)), nerf(at(4))
    assert coarse.image.shape == fine.image.shape
    assert nerf.renderer.samples == 16  # what is looked at is fine


def test_regularisers_are_the_views_loss() -> None:
    view = scene(regularisers=Regularisers(sparsity=2.0))(at(0))
    assert view.loss is not None
    assert float(view.loss) > 2 * 0.1  # sparsity is at least sqrt(0.01), times its weight
    assert view.loss.requires_grad


class Still:
    """An estimator that is content with everything."""

    def nfe(self, step: int) -> int:
        return 1

    def __call__(self, x: Tensor, cond: object = None, *, rng: object, step: int = 0) -> Estimate:
        return Estimate(x, x.detach().clone(), 1, {"shift": 0.0})


def test_the_loop_minimises_the_regularisers() -> None:
    """With a gradient of 0, sparsity alone moves the field: the ball thins out."""
    nerf = scene(regularisers=Regularisers(sparsity=1.0))
    field = nerf.field
    assert isinstance(field, Ball)
    distill(nerf, Still(), steps=3, rng=Streams.for_batch(0, 2), lr=0.1)  # type: ignore[arg-type]
    assert float(field.dense) < 1.8
    assert torch.equal(field.paint, torch.zeros(3))
    untouched = scene(regularisers=Regularisers())  # a sum of nothing has no graph
    distill(untouched, Still(), steps=1, rng=Streams.for_batch(0, 2), lr=0.1)  # type: ignore[arg-type]
    assert float(untouched.field.dense) == 2.0  # type: ignore[arg-type]


def test_the_loss_passes_through_an_encoder() -> None:
    view = Encoded(scene(regularisers=Regularisers(sparsity=1.0)), lambda image: image.mean(1, keepdim=True))(at(0))
    assert isinstance(view, View)
    assert view.loss is not None
    assert view.loss.requires_grad


def test_its_occupancy_is_kept_with_it() -> None:
    field = Ball()
    grid = OccupancyGrid(8, warmup=0, every=1, parts=1)
    nerf = NeRF((Stage(0, 6, Renderer(field, samples=8, occupancy=grid)),), Orbit(), size=6)
    nerf(at(0))
    assert not bool(grid.bits.all())
    again = NeRF((Stage(0, 6, Renderer(Ball(), samples=8, occupancy=OccupancyGrid(8))),), Orbit(), size=6)
    again.load_state_dict(nerf.state_dict())
    torch.testing.assert_close(again(at(1)).image, nerf(at(1)).image)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: scene(size=0), "size and hold must be at least 1"),
        (lambda: scene(hold=0), "size and hold must be at least 1"),
        (lambda: NeRF((), Orbit(), size=4), "begin at step 0"),
        (lambda: NeRF((Stage(2, 4, Renderer(Ball())),), Orbit(), size=4), "begin at step 0"),
        (
            lambda: NeRF((Stage(0, 4, Renderer(Ball())), Stage(1, 4, Renderer(Ball()))), Orbit(), size=4),
            "the same field",
        ),
    ],
)
def test_what_cannot_be_shown_is_refused(call, message) -> None:
    with pytest.raises(UsageError, match=message):
        call()
