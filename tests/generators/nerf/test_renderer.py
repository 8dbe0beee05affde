"""The renderer against quadratures, closed forms, finite differences, and itself in other orders."""

import math

import pytest
import torch
from analytic_fields import Ball, Blob, Even

from modeseek.cameras import Cameras, turntable
from modeseek.errors import UsageError
from modeseek.generators.nerf.rays import through_cube
from modeseek.generators.nerf.renderer import Renderer
from modeseek.randomness import Streams

FRONT = turntable(1, elevation=0.0).to(torch.float64)
VIEWS = turntable(3, elevation=20.0, distance=2.5).to(torch.float64)


def rendered(field, cameras=VIEWS, height=5, width=7, rng=None, **options):
    return Renderer(field, **{"stop": 0.0, "faint": 0.0, **options})(cameras, height, width, rng)


def errors(field, samples):
    """Against the quadrature, over the pixels of one view: colour, alpha, depth."""
    cameras = VIEWS[:1]
    out = rendered(field, cameras, samples=samples)
    origins, directions = (r.reshape(-1, 3) for r in cameras.rays(5, 7))
    near, far = through_cube(origins, directions)
    worst = [0.0, 0.0, 0.0]
    for k in range(35):
        truth = field.seen(origins[k], directions[k], float(near[k]), float(far[k]))
        ours = (out.image[0].flatten(1)[:, k], out.alpha.flatten()[k], out.depth.flatten()[k])
        worst = [max(w, float((o.detach() - torch.as_tensor(t)).abs().max())) for w, o, t in zip(worst, ours, truth)]
    return worst


def test_pictures_are_the_integral_and_converge_with_the_second_order():
    """NERF-1 with middles against adaptive quadrature: 1e-5, and a quarter of the error for twice the samples."""
    field = Blob()
    coarse, fine = errors(field, 64), errors(field, 128)
    assert max(errors(field, 512)) < 1e-5
    assert 3.5 < coarse[0] / fine[0] < 4.5
    assert 3.5 < coarse[2] / fine[2] < 4.5


def test_alpha_and_depth_of_an_even_slab():
    """Closed forms: straight on, the cube is a slab of depth 2 from distance 2 to 4."""
    rho = 1.5
    alpha = 1 - math.exp(-2 * rho)
    depth = 2 + 1 / rho - (4 + 1 / rho) * math.exp(-2 * rho)  # the integral of rho t exp(-rho (t - 2))
    for samples in (1, 3, 40):  # even: exact for any number of samples
        out = rendered(Even(rho), FRONT, 1, 1, samples=samples)
        assert abs(out.alpha.item() - alpha) < 1e-12
        assert torch.allclose(out.image.flatten(), alpha * torch.tensor([0.2, 0.5, 0.9]).double(), atol=1e-7)
    fine = rendered(Even(rho), FRONT, 1, 1, samples=400)
    assert abs(fine.depth.item() - depth) < 1e-4


@pytest.mark.parametrize("options", [{}, {"importance": 16, "samples": 16}], ids=["even", "importance"])
def test_random_samples_are_right_on_average(options):
    """Stratified samples: the mean of optical depths is the truth, that of pictures nearly."""
    field, n = Blob(), 40
    with torch.no_grad():
        truth = rendered(field, FRONT, samples=512)
        many = [rendered(field, FRONT, rng=Streams(k), **{"samples": 32, **options}).image for k in range(n)]
    mean, error = torch.stack(many).mean(0), torch.stack(many).std(0) / math.sqrt(n)
    assert float(error.max()) > 1e-5, "they are random"
    assert bool(((mean - truth.image).abs() < 5 * error + 5e-4).all())


def test_importance_finds_a_small_object():
    """NERF-2 puts the samples where they are needed: nearer to the truth than the same number, even."""
    field = Blob(height=100.0, width=0.02, centre=(0.0, 0.0, 0.3))
    with torch.no_grad():
        truth = rendered(field, FRONT, 25, 25, samples=2048).image
        even = (rendered(field, FRONT, 25, 25, samples=64).image - truth).abs().max()
        chosen = (rendered(field, FRONT, 25, 25, samples=32, importance=32).image - truth).abs().max()
    assert float(chosen) < 0.2 * float(even)


@pytest.mark.parametrize("options", [{}, {"recompute": True, "chunk": 320}], ids=["plain", "recompute"])
def test_gradients_are_those_of_finite_differences(options):
    field, rng = Blob(), Streams(0, range(3))
    weight = torch.randn(3, 3, 5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def loss():
        out = rendered(field, rng=rng.at(0), samples=32, **options)
        return (out.image * weight).sum() + out.alpha.square().sum() + out.depth.sum()

    loss().backward()
    for parameter in field.parameters():
        for k in range(parameter.numel()):
            with torch.no_grad():
                place = parameter.view(-1)
                place[k] += 1e-5
                up = loss()
                place[k] -= 2e-5
                down = loss()
                place[k] += 1e-5
            wanted = float(up - down) / 2e-5
            assert abs(float(parameter.grad.view(-1)[k]) - wanted) < 1e-6 * max(1.0, abs(wanted))


def test_each_view_is_the_same_alone():
    field, rng = Blob(), Streams(3, [5, 2, 9], step=4)
    for options in ({}, {"importance": 8}):
        together = rendered(field, VIEWS, rng=rng, **options)
        for k in range(3):
            alone = rendered(field, VIEWS[k : k + 1], rng=Streams(3, [rng.samples[k]], step=4), **options)
            assert torch.allclose(alone.image[0], together.image[k], atol=1e-13)
            assert torch.allclose(alone.depth[0], together.depth[k], atol=1e-13)


def test_the_rng_decides_and_the_global_generator_is_left_alone():
    field, state = Blob(), torch.random.get_rng_state()
    first, again, other = (rendered(field, FRONT, rng=Streams(0, step=step)).image for step in (0, 0, 1))
    assert torch.equal(first, again)
    assert float((first - other).detach().abs().max()) > 1e-6
    used = Streams(0)
    used.normal((1, 7))  # what others drew before does not matter
    assert torch.equal(rendered(field, FRONT, rng=used).image, first)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("importance", [0, 24])
def test_nothing_depends_on_the_chunk(recompute, importance):
    """Nor is the field given more points at once, its gradients the same."""

    def results(chunk):
        field = Ball()
        renderer = Renderer(field, samples=40, importance=importance, chunk=chunk, recompute=recompute)
        out = renderer(VIEWS, 9, 11, Streams(0, range(3)), normals=True, keep_samples=True)
        ((out.image[:, 0].sum() + out.normal.square().sum()) + out.samples.weights.square().sum()).backward()
        assert field.most <= chunk
        grads = [p.grad for p in field.parameters()]
        kept = [out.samples.points, out.samples.weights, out.samples.ray, out.samples.depth]
        return [out.image, out.alpha, out.depth, out.normal, *kept, *grads]

    for one, other in zip(results(1 << 18), results(300)):
        assert torch.allclose(one, other, atol=1e-10)


def test_recompute_asks_the_field_twice():
    for recompute, factor in ((False, 1), (True, 2)):
        field = Blob()
        out = rendered(field, FRONT, recompute=recompute)
        before = field.evaluated
        out.image.sum().backward()
        assert field.evaluated == factor * before


def test_stopping_saves_and_costs_at_most_its_threshold():
    wall = Ball(height=400.0)
    with torch.no_grad():
        plain = rendered(wall, VIEWS, 16, 16, samples=64)
        all_points, wall.evaluated = wall.evaluated, 0
        for stop in (1e-4, 0.05):
            out = rendered(wall, VIEWS, 16, 16, samples=64, stop=stop)
            assert float((out.image - plain.image).abs().max()) <= stop
        assert wall.evaluated < 0.95 * 2 * all_points
        steep = rendered(Even(40.0), FRONT, 1, 1, samples=64, stop=0.05)  # the bound is nearly met
    assert 1e-3 < math.exp(-80.0) + float(1 - steep.alpha) <= 0.05


@pytest.mark.parametrize("samples", [16, 512])
def test_faint_samples_lose_at_most_their_weight_and_only_without_gradients(samples):
    field = Blob()
    with torch.no_grad():
        plain, faint = (rendered(field, faint=f, samples=samples) for f in (0.0, 0.03))
    lost = (plain.image - faint.image).abs().max()
    assert 1e-3 < float(lost) <= 0.03
    assert torch.equal(plain.alpha, faint.alpha)
    assert torch.allclose(rendered(field, faint=0.03, samples=samples).image, plain.image, atol=1e-14)


def test_rays_that_miss_see_the_background():
    wide = Cameras.look_at([0.0], [0.0], [3.0], [120.0]).to(torch.float64)
    field = Blob()
    out = rendered(field, wide, 8, 8)
    corner = out.directions[0, 0, 0]
    assert torch.allclose(out.image[0, :, 0, 0], field.background(corner[None])[0], atol=1e-14)
    assert float(out.alpha[0, 0, 0, 0].detach()) == 0.0
    assert float(out.alpha.detach().max()) > 0.3


def middle(picture):
    """Column and row of the centre of mass of (1, 1, H, W), from the centre, right and down."""
    weight = picture[0, 0].detach()
    rows, columns = (torch.arange(n) - (n - 1) / 2 for n in weight.shape)
    return float((weight.sum(0) * columns).sum() / weight.sum()), float((weight.sum(1) * rows).sum() / weight.sum())


def test_where_things_appear():
    def at(x, y, cameras=FRONT):
        return middle(rendered(Ball(width=0.2, centre=(x, y, 0.0)), cameras, 37, 53).alpha)

    assert max(map(abs, at(0, 0))) < 1e-6
    assert at(0.4, 0)[0] > 4, "+x is on the right from the front"
    assert abs(at(0.4, 0)[1]) < 1e-6
    assert at(0, 0.4)[1] < -4, "+y is above"
    assert abs(at(0, 0.4)[0]) < 1e-6
    assert at(0, 0, FRONT.translated((0.4, 0, 0)))[0] < -4, "a camera that goes right sees things go left"
    assert at(0, 0, FRONT.translated((0, 0.4, 0)))[1] > 4
    back = turntable(1, elevation=0.0, first=180.0).to(torch.float64)
    assert at(0.4, 0, back)[0] < -4


def test_depth_and_normals_of_a_ball():
    field = Ball(height=200.0, skin=100.0)
    with torch.no_grad():
        out = Renderer(field, samples=256)(FRONT, 37, 37, normals=True)
    assert abs(float(out.depth[0, 0, 18, 18]) - 2.5) < 0.03
    covered = out.alpha[0, 0] > 0.99
    surface = (FRONT.position[0] + out.directions[0] * out.depth[0, 0, ..., None])[covered]
    outward = torch.nn.functional.normalize(surface, dim=-1)
    assert float((out.normal[0].permute(1, 2, 0)[covered] * outward).sum(-1).min()) > 0.98
    assert float((out.normal[0].permute(1, 2, 0)[covered] * out.directions[0][covered]).sum(-1).max()) < 0


def test_samples_are_kept_in_order_with_the_weights_of_the_picture():
    field = Ball()
    out = Renderer(field, samples=40)(VIEWS, 5, 7, Streams(0, range(3)), keep_samples=True)
    kept = out.samples
    assert bool((kept.ray.diff() >= 0).all())
    same = kept.ray.diff() == 0
    assert bool((kept.depth.diff()[same] > 0).all())
    total = torch.zeros(3 * 35, dtype=torch.float64).index_add(0, kept.ray, kept.weights)
    assert torch.allclose(total, out.alpha.flatten(), atol=1e-12)
    o, d = (r.reshape(-1, 3)[kept.ray] for r in VIEWS.rays(5, 7))
    assert torch.allclose(kept.points, o + d * kept.depth[:, None], atol=1e-12)


def test_float32_agrees_and_is_kept():
    field = Ball()
    single = Renderer(field)(turntable(3, elevation=20.0, distance=2.5), 9, 9, Streams(0, range(3)))
    double = Renderer(field)(VIEWS, 9, 9, Streams(0, range(3)))
    assert single.image.dtype == torch.float32
    assert single.depth.dtype == torch.float32
    assert torch.allclose(single.image.double(), double.image, atol=2e-4)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (37, 53), (2, 65)])
def test_any_size(height, width):
    out = rendered(Blob(), VIEWS, height, width, samples=4)
    assert out.image.shape == (3, 3, height, width)
    assert out.alpha.shape == out.depth.shape == (3, 1, height, width)
    assert out.directions.shape == (3, height, width, 3)
    assert out.normal is None
    assert out.samples is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"samples": 0}, "samples must be at least 1 and importance at least 0, got 0 and 0"),
        ({"importance": -1}, "got 64 and -1"),
        ({"chunk": 0}, "chunk must be from 64 points, the samples of one ray, to 67108864, got 0"),
        ({"chunk": 95, "importance": 32}, "chunk must be from 96 points"),
        ({"chunk": 1 << 40}, "to 67108864, got 1099511627776"),
        ({"stop": 1.0}, "stop and faint must be in \\[0, 1\\)"),
        ({"normal_step": 0.0}, "normal_step positive"),
    ],
)
def test_bad_options(options, said):
    with pytest.raises(UsageError, match=said):
        Renderer(Blob(), **options)


def test_bad_calls():
    with pytest.raises(UsageError, match="height and width must be at least 1, got 0 and 5"):
        rendered(Blob(), FRONT, 0, 5)
    with pytest.raises(UsageError, match="one stream for each camera, got 1 for 3"):
        rendered(Blob(), VIEWS, rng=Streams(0))
