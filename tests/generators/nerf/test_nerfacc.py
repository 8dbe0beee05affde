"""The backend on CUDA, with a package of that name that does in torch what nerfacc's functions are documented to do."""

import importlib.util
import sys
import types

import pytest
import torch
from analytic_fields import Ball

from modeseek.cameras import turntable
from modeseek.errors import UsageError
from modeseek.generators.nerf.renderer import Renderer
from modeseek.randomness import Streams

VIEWS = turntable(2, elevation=20.0).to(torch.float64)


def render_weight_from_density(t_starts, t_ends, sigmas, *, ray_indices, n_rays, prefix_trans):
    """Sample by sample: those of one ray follow one another."""
    assert bool((ray_indices.diff() >= 0).all())
    assert int(ray_indices.max()) < n_rays
    weights, passes, alphas, through, before = [], [], [], None, None
    for k, ray in enumerate(ray_indices.tolist()):
        through = prefix_trans[k] if ray != before else through
        alpha = 1 - torch.exp(-sigmas[k] * (t_ends[k] - t_starts[k]))
        weights, passes, alphas = [*weights, through * alpha], [*passes, through], [*alphas, alpha]
        through, before = through * (1 - alpha), ray
    return torch.stack(weights), torch.stack(passes), torch.stack(alphas)


def accumulate_along_rays(weights, values=None, ray_indices=None, n_rays=None):
    values = torch.ones_like(weights)[:, None] if values is None else values
    return weights.new_zeros(n_rays, values.shape[1]).index_add(0, ray_indices, weights[:, None] * values)


@pytest.fixture
def stub(monkeypatch):
    module = types.ModuleType("nerfacc")
    module.render_weight_from_density = render_weight_from_density
    module.accumulate_along_rays = accumulate_along_rays
    monkeypatch.setitem(sys.modules, "nerfacc", module)


@pytest.mark.parametrize("options", [{}, {"importance": 8, "stop": 0.05}], ids=["even", "importance"])
def test_it_is_the_same_picture_with_the_same_gradient(stub, options):
    """NERF-1 by both backends."""
    results = []
    for backend in ("torch", "nerfacc"):
        field = Ball()
        out = Renderer(field, samples=20, backend=backend, **options)(VIEWS, 4, 5, Streams(0, range(2)))
        (out.image[:, 0].sum() + out.depth.sum()).backward()
        results.append([out.image, out.alpha, out.depth, field.width.grad, field.centre.grad])
    for one, other in zip(*results):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.skipif(importlib.util.find_spec("nerfacc") is not None, reason="nerfacc is installed")
def test_without_the_package_it_says_so():
    with pytest.raises(UsageError, match=r'backend "nerfacc" needs the package of that name'):
        Renderer(Ball(), backend="nerfacc")


def test_another_backend_is_refused():
    with pytest.raises(UsageError, match='must be "torch" or "nerfacc", got \'cuda\''):
        Renderer(Ball(), backend="cuda")
