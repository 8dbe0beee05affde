"""The regularisers against loops and closed forms."""

import math

import numpy as np
import pytest
import torch
from analytic_fields import Ball, Blob, Even

from modeseek.cameras import turntable
from modeseek.errors import UsageError
from modeseek.generators.nerf.base import Samples
from modeseek.generators.nerf.normals import normals
from modeseek.generators.nerf.regularisers import (
    Regularisers,
    distortion,
    opaque,
    orientation,
    smoothness,
    sparsity,
)
from modeseek.generators.nerf.renderer import Renderer
from modeseek.randomness import Streams

VIEWS = turntable(2, elevation=20.0).to(torch.float64)
RNG = Streams(0, range(2))


class Shell(Ball):
    """A hollow ball: its inner skin faces away from every camera."""

    def density(self, points):
        away = (points - self.centre.to(points)).norm(dim=-1)
        return 3 * torch.exp(-(((away - self.width) / 0.1) ** 2)), points


def render(field, cameras=VIEWS, keep=True):
    return Renderer(field, samples=32, stop=0.0)(cameras, 8, 8, RNG if len(cameras) == 2 else None, keep_samples=keep)


def test_sparsity():
    """REG-1 at 0, where it is 0.1, and elsewhere."""
    alpha = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    assert abs(float(sparsity(alpha)) - (0.1 + 0.1**0.5 + 1.01**0.5) / 3) < 1e-12


def test_opaque():
    """REG-2 is binary cross-entropy of alpha with itself, torch's, and ln 2 at its largest."""
    alpha = torch.rand(2, 1, 5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    clamped = alpha.clamp(1e-3, 1 - 1e-3)
    assert torch.allclose(opaque(alpha), torch.nn.functional.binary_cross_entropy(clamped, clamped))
    assert abs(float(opaque(torch.tensor([0.5]))) - math.log(2)) < 1e-6
    sure = torch.tensor([0.0, 1.0], dtype=torch.float64, requires_grad=True)
    opaque(sure).backward()
    assert float(opaque(sure).detach()) < 0.01
    assert bool(sure.grad.isfinite().all())


def test_distortion():
    """REG-5 against the double sum, ray by ray; and one with a known value."""
    rng = np.random.default_rng(0)
    counts, wanted, flat = [3, 0, 7, 1], 0.0, []
    for ray, n in enumerate(counts):
        w, t, length = rng.random(n), np.sort(rng.random(n)) + 2, rng.random(n)
        wanted += (w[:, None] * w * np.abs(t[:, None] - t)).sum() + (w**2 * length).sum() / 3
        flat += [(ray, *row) for row in zip(w, t, length)]
    ray, w, t, length = (torch.tensor(column, dtype=torch.float64) for column in zip(*flat))
    samples = Samples(torch.zeros(11, 3).double(), w, ray.long(), t, length)
    assert abs(float(distortion(samples, 4)) - wanted / 4) < 1e-12
    out = render(Blob())
    with torch.no_grad():
        dense = torch.zeros(128, 128).double()
        kept = out.samples
        pair = (kept.ray[:, None] == kept.ray) * kept.weights[:, None] * kept.weights
        dense = (pair * (kept.depth[:, None] - kept.depth).abs()).sum() + (kept.weights**2 * kept.length).sum() / 3
    assert abs(float(distortion(kept, 128).detach()) - float(dense) / 128) < 1e-12


def test_orientation():
    """REG-3: the sum over all samples, which the probes estimate; nothing where all is seen from outside."""
    field = Shell()
    out = render(field)
    kept = out.samples
    facing = (normals(field, kept.points) * out.directions.reshape(-1, 3)[kept.ray]).sum(-1).clamp(min=0).square()
    wanted = (kept.weights * facing).sum().item() / 128
    got = [float(orientation(field, out, RNG.at(k), 512).detach()) for k in range(40)]
    error = np.std(got) / 40**0.5
    assert abs(np.mean(got) - wanted) < 5 * error
    assert error < 0.02 * wanted
    assert wanted > 0.01
    wall = Ball(height=400.0)
    assert float(orientation(wall, render(wall), RNG).detach()) < 0.05 * wanted


def test_smoothness():
    """REG-4: a mean over rays as REG-3 is; for points near a centre, where normals turn as 1 / r."""
    field = Blob(centre=(0.0, 0.0, 0.0))
    out = render(field)
    got = [float(smoothness(field, out, RNG.at(k), 512, spread=1e-3).detach()) for k in range(20)]
    radius = out.samples.points.norm(dim=-1)
    # delta across the normal is two-dimensional: the turn is |delta_tangent| / r, its mean |.|_1 over directions
    n = out.samples.points / radius[:, None]
    along = math.sqrt(2 / math.pi) * (1 - n.square()).sqrt().mean(-1)  # E|(delta - n (n . delta))_k| / spread
    wanted = float((out.samples.weights * 1e-3 * along / radius).sum().detach() / 128)
    assert abs(np.mean(got) - wanted) < 5 * np.std(got) / 20**0.5 + 0.01 * wanted
    assert float(smoothness(Even(), render(Even()), RNG).detach()) == 0.0


@pytest.mark.parametrize("penalty", [orientation, smoothness], ids=["orientation", "smoothness"])
def test_each_view_is_the_same_alone(penalty):
    """Also beside a view that sees nothing."""
    field = Shell()
    away = VIEWS[[1]].translated((100.0, 0.0, 0.0))
    pose, fov = torch.cat([away.pose, VIEWS[[0]].pose]), torch.cat([away.fov, VIEWS[[0]].fov])
    both = type(VIEWS)(pose, fov)
    one = Renderer(field)(VIEWS[[0]], 8, 8, keep_samples=True)
    two = Renderer(field)(both, 8, 8, keep_samples=True)
    alone = penalty(field, one, Streams(0, [7]), 64)
    assert abs(float((2 * penalty(field, two, Streams(0, [3, 7]), 64) - alone).detach())) < 1e-12
    nothing = Renderer(field)(away, 8, 8, keep_samples=True)
    assert float(penalty(field, nothing, Streams(0, [3])).detach()) == 0.0


@pytest.mark.parametrize("name", ["sparsity", "opaque", "orientation", "smoothness", "distortion"])
def test_gradients_push_the_right_way(name):
    """Down a gradient each falls; weights are linear; what is not chosen costs nothing and needs no samples."""
    field = Shell(centre=(0.1, 0.0, 0.0))
    chosen = Regularisers(**{name: 2.0})
    out = render(field, keep=chosen.need_samples)
    loss = chosen(field, out, RNG)
    assert torch.allclose(loss, 2 * Regularisers(**{name: 1.0})(field, out, RNG))
    assert loss.ndim == 0
    parameters = [field.width, field.centre]
    slopes = torch.autograd.grad(loss, parameters)
    with torch.no_grad():
        for parameter, slope in zip(parameters, slopes):
            parameter -= 1e-4 * slope / max(s.norm() for s in slopes)
        weighted = name in ("orientation", "smoothness")  # by weights that they leave alone
        assert float(chosen(field, out if weighted else render(field), RNG)) < float(loss)


def test_a_sum_and_nothing():
    field = Shell()
    out = render(field)
    names = ("sparsity", "opaque", "orientation", "smoothness", "distortion")
    parts = [Regularisers(**{name: 0.5})(field, out, RNG) for name in names]
    assert torch.allclose(Regularisers(*[0.5] * 5)(field, out, RNG), torch.stack(parts).sum())
    assert float(Regularisers()(field, out, RNG)) == 0.0
    assert not Regularisers(1.0, 1.0).need_samples


def test_bad_input():
    with pytest.raises(UsageError, match="weight of opaque must be at least 0 and finite, got -1"):
        Regularisers(opaque=-1.0)
    with pytest.raises(UsageError, match="weight of sparsity must be at least 0 and finite, got nan"):
        Regularisers(sparsity=float("nan"))
    with pytest.raises(UsageError, match="probes must be at least 1"):
        Regularisers(probes=0)
    with pytest.raises(UsageError, match="keep_samples=True"):
        Regularisers(orientation=1.0)(Blob(), render(Blob(), keep=False), RNG)
    with pytest.raises(UsageError, match="one stream for each view, got 1 for 2"):
        Regularisers(orientation=1.0)(Blob(), render(Blob()), Streams(0))
