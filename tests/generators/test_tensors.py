"""Points, pixels, latents."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from modeseek.generators import Latents, Pixels, Points


@pytest.mark.parametrize(("kind", "shape"), [(Points, (5, 2)), (Latents, (2, 4, 3, 3))])
def test_the_parameter_is_the_output(kind: type[nn.Module], shape: tuple[int, ...]) -> None:
    start = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    generator = kind(start)
    out = generator()
    assert torch.equal(out, start)
    out.sum().backward()
    (parameter,) = generator.parameters()
    assert torch.equal(parameter.grad, torch.ones(shape))
    with torch.no_grad():
        parameter += 1
    assert torch.equal(generator(), start + 1)
    assert not torch.equal(start, generator())  # a copy: the start stays


def test_pixels_start_at_the_picture() -> None:
    image = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(Pixels(image, margin=1e-6)(), image, rtol=0, atol=2e-6)


def test_pixels_keep_off_the_ends() -> None:
    image = torch.tensor([0.0, 1.0, -3.0, 4.0, 0.5]).reshape(1, 1, 1, 5)
    generator = Pixels(image, margin=0.01)
    expected = torch.tensor([0.01, 0.99, 0.01, 0.99, 0.5]).reshape(1, 1, 1, 5)
    torch.testing.assert_close(generator(), expected, rtol=0, atol=1e-6)
    generator().sum().backward()
    assert bool(generator.logits.grad.isfinite().all())
    assert float(generator.logits.grad.min()) > 0
    with torch.no_grad():
        generator.logits += 50
        assert 0 <= float(generator().min()) <= float(generator().max()) <= 1
