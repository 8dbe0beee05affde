"""Normals by differences."""

import torch
from analytic_fields import Blob, Even

from modeseek.generators.nerf.normals import normals

POINTS = torch.rand(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 1.6 - 0.8


def test_they_are_minus_the_gradient_by_autograd():
    field = Blob()
    points = POINTS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(field.density(points)[0].sum(), points)
    wanted = -torch.nn.functional.normalize(gradient, dim=-1)
    errors = [float((normals(field, POINTS, step).detach() - wanted).abs().max()) for step in (0.02, 0.01)]
    assert errors[1] < 3e-3
    assert 3.5 < errors[0] / errors[1] < 4.5, "second order"
    assert torch.allclose(wanted, torch.nn.functional.normalize(POINTS - field.centre.detach(), dim=-1)), "outward"


def test_on_the_cubes_own_faces():
    """Differences that stay inside are one-sided there, and still point outwards."""
    field = Blob(centre=(0.0, 0.0, 0.0))
    out = normals(field, torch.tensor([[1.0, 0.2, 0.1]], dtype=torch.float64), 1e-3)
    assert torch.allclose(out, torch.nn.functional.normalize(torch.tensor([[1.0, 0.2, 0.1]]).double()), atol=2e-3)


def test_an_even_field_has_none_and_parameters_learn_through_them():
    assert float(normals(Even(), POINTS).detach().abs().max()) == 0.0
    field = Blob()
    normals(field, POINTS)[:, 0].sum().backward()
    assert float(field.centre.grad.abs().max()) > 0.1
