"""Any module that returns an image batch or a View is a generator."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from modeseek.distillation import distill
from modeseek.errors import UsageError
from modeseek.estimators import Estimate
from modeseek.generators import Encoded, View, render
from modeseek.randomness import Rng, Streams, normal


class Plain(nn.Module):
    """Ours knows nothing of it."""

    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor([[1.0, 2.0]]))

    def forward(self) -> Tensor:
        return self.x


class Jittered(Plain):
    def forward(self, rng: Rng) -> Tensor:
        return self.x + normal(rng, self.x)


class Seen(Plain):
    def forward(self, rng: Rng) -> View:
        return View(2 * self.x, camera="north")


class Optional(Plain):
    def forward(self, size: int = 3, *, scale: float = 2.0) -> Tensor:
        return scale * size * self.x


def test_without_arguments() -> None:
    view = render(Plain())(Streams(0))
    assert view.image.tolist() == [[1.0, 2.0]]
    assert view.camera is None


def test_with_the_streams() -> None:
    streams = Streams(7)
    expected = torch.tensor([[1.0, 2.0]]) + streams.normal((1, 2))
    torch.testing.assert_close(render(Jittered())(streams.at(0)).image, expected, rtol=0, atol=0)


def test_with_a_camera() -> None:
    view = render(Seen())(Streams(0))
    assert (view.image.tolist(), view.camera) == ([[2.0, 4.0]], "north")


def test_optional_arguments_are_left_alone() -> None:
    assert render(Optional())(Streams(0)).image.tolist() == [[6.0, 12.0]]


class TwoArguments(Plain):
    def forward(self, rng: Rng, camera: Any) -> Tensor:
        return self.x


class KeywordOnly(Plain):
    def forward(self, *, camera: Any) -> Tensor:
        return self.x


@pytest.mark.parametrize("kind", [TwoArguments, KeywordOnly])
def test_more_arguments_are_refused(kind: type[nn.Module]) -> None:
    with pytest.raises(UsageError, match=r"must take the rng or nothing, got .*camera"):
        render(kind())


class Listed(Plain):
    def forward(self) -> list[Tensor]:
        return [self.x]


def test_a_list_is_refused() -> None:
    with pytest.raises(UsageError, match="must return a tensor or a View, got list"):
        render(Listed())(Streams(0))


class Towards:
    """An estimator that points at (5, 7)."""

    def nfe(self, step: int) -> int:
        return 0

    def __call__(self, x: Tensor, cond: Any = None, *, rng: Rng, step: int = 0) -> Estimate:
        return Estimate(x, torch.tensor([[5.0, 7.0]]).expand_as(x), 0)


@pytest.mark.parametrize("kind", [Plain, Seen, Optional])
def test_a_users_module_is_distilled_as_it_is(kind: type[nn.Module]) -> None:
    generator = kind()
    distill(generator, Towards(), steps=400, rng=Streams(0), lr=0.05)
    rendered = render(generator)(Streams(0)).image
    torch.testing.assert_close(rendered, torch.tensor([[5.0, 7.0]]), rtol=0, atol=1e-3)


@pytest.mark.parametrize("kind", [Plain, Jittered, Seen])
def test_encoded_passes_image_camera_and_gradient(kind: type[nn.Module]) -> None:
    generator = kind()
    bare = render(generator)(Streams(3))
    encoded = Encoded(generator, lambda image: image.square().sum(1, keepdim=True))
    view = render(encoded)(Streams(3))
    torch.testing.assert_close(view.image, bare.image.square().sum(1, keepdim=True), rtol=0, atol=0)
    assert view.camera == bare.camera
    view.image.backward(torch.ones(1, 1))
    scale = 2.0 if kind is Seen else 1.0
    torch.testing.assert_close(generator.x.grad, 2 * scale * bare.image.detach())
    assert [name for name, _ in encoded.named_parameters()] == ["generator.x"]


def noisy(image: Tensor, rng: Rng | None = None) -> Tensor:
    """An encoder with a posterior: mean 3 x, standard deviation 0.5."""
    mean = 3 * image
    return mean if rng is None else mean + 0.5 * normal(rng, mean)


def test_the_posteriors_mean_and_its_samples() -> None:
    """The trap of the public implementations, which sample: one sample is not the mean, the mean of many is."""
    mean, sampled = Encoded(Plain(), noisy), Encoded(Plain(), noisy, posterior="sample")
    assert render(mean)(Streams(3)).image.tolist() == [[3.0, 6.0]]
    assert torch.equal(render(mean)(Streams(3)).image, render(mean)(Streams(4)).image)
    drawn = torch.cat([render(sampled)(Streams(3, step=k)).image for k in range(4000)]).detach()
    error = (drawn.mean(0) - torch.tensor([3.0, 6.0])) / (0.5 / 4000**0.5)
    assert float(error.abs().max()) < 5
    assert float(drawn.std(0).min()) > 0.4


def test_the_posteriors_noise_is_the_samples_own() -> None:
    """Drawn after what the generator draws, and before what the estimator does; its gradient is the mean's."""
    streams = Streams(7)
    jitter = streams.normal((1, 2))
    expected = 3 * (torch.tensor([[1.0, 2.0]]) + jitter) + 0.5 * streams.normal((1, 2))
    generator = Jittered()
    image = render(Encoded(generator, noisy, posterior="sample"))(Streams(7)).image
    torch.testing.assert_close(image, expected)
    image.sum().backward()
    assert generator.x.grad is not None
    assert generator.x.grad.tolist() == [[3.0, 3.0]]
