"""The radiance field."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from modeseek.errors import UsageError
from modeseek.generators.nerf.background import PlainBackground
from modeseek.generators.nerf.encoding import Encoding
from modeseek.generators.nerf.field import RadianceField
from modeseek.generators.nerf.hash_grid import HashGrid
from modeseek.generators.nerf.triplane import Triplane
from modeseek.randomness import Streams


def encoding(kind: str) -> Encoding:
    if kind == "hash":
        return HashGrid(Streams(0), levels=4, features=4, table=2**12, base=4, growth=1.8)
    return Triplane(Streams(0), resolution=(8, 24), features=4)


def build(kind: str = "planes", **options: Any) -> RadianceField:
    return RadianceField(encoding(kind), Streams(1), **{"width": 16, "layers": 1, **options})


def points(n: int) -> torch.Tensor:
    return 2 * Streams(2).uniform((1, n, 3))[0] - 1


@pytest.mark.parametrize("activation", ["softplus", "exp"])
def test_hash_3(activation: str) -> None:
    """HASH-3, with the network's part by hand."""
    field = build(activation=activation, blob_scale=7.0, blob_radius=0.4).double()
    at = 1.3 * points(200).double()
    density, features = field.density(at)
    raw = field.network(field.encoding(at))
    inside = (at.abs() <= 1).all(1)
    assert 0 < int(inside.sum()) < 200
    x = raw[:, 0] + 7 * (1 - at.square().sum(1).sqrt() / 0.4)
    expected = x.exp() if activation == "exp" else (1 + x.exp()).log()
    torch.testing.assert_close(density, expected * inside, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(field.colour(features), 1 / (1 + (-raw[:, 1:]).exp()), rtol=1e-12, atol=0)


def test_it_starts_as_a_soft_ball() -> None:
    field = build("hash")
    radii = torch.tensor([0.0, 0.25, 0.5, 0.9])
    density = field.density(torch.stack([radii, 0 * radii, 0 * radii], 1))[0]
    expected = torch.nn.functional.softplus(10 * (1 - radii / 0.5))
    torch.testing.assert_close(density, expected, rtol=0, atol=0.01)  # the features are within 1e-4
    empty = build("hash", blob_scale=0.0).density(points(50))[0]
    torch.testing.assert_close(empty, torch.full((50,), 2.0).log(), rtol=0, atol=0.01)


def test_the_default_has_two_layers_of_64() -> None:
    network = RadianceField(encoding("planes"), Streams(1)).network
    assert [tuple(w.shape) for w in network.weights] == [(64, 8), (64, 64), (4, 64)]


def test_the_seed_is_all_there_is() -> None:
    state = torch.get_rng_state()
    one, two = build(), build()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters()))


def test_no_points() -> None:
    for kind in ("hash", "planes"):
        density, features = build(kind).density(points(0))
        assert density.shape == (0,)
        assert build(kind).colour(features).shape == (0, 3)


def test_every_parameter_is_trained() -> None:
    field = build("hash", background=PlainBackground((0.5, 0.5, 0.5), learned=True))
    density, features = field.density(points(3000))
    (density.sum() + field.colour(features).square().sum() + field.background(points(3)).sum()).backward()
    assert all(float(p.grad.abs().max()) > 0 for p in field.parameters())


@pytest.mark.parametrize("kind", ["hash", "planes"])
def test_it_learns_a_solid_with_two_colours(kind: str) -> None:
    field, rng = build(kind, width=32), Streams(4)
    optimiser = torch.optim.Adam(field.parameters(), lr=1e-2)

    def solid(p: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        ring = ((p[:, 0].square() + p[:, 2].square()).sqrt() - 0.6).square() + p[:, 1].square() < 0.25**2
        return ring.float(), torch.where(p[:, :1] > 0, torch.tensor([0.9, 0.1, 0.2]), torch.tensor([0.1, 0.3, 0.8]))

    for step in range(150):
        at = 2 * rng.at(step).uniform((1, 2048, 3))[0] - 1
        occupied, colour = solid(at)
        density, features = field.density(at)
        error = (1 - torch.exp(-0.3 * density) - occupied).square()
        loss = (error + occupied * (field.colour(features) - colour).square().sum(1)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    occupied, colour = solid(points(20_000))
    density, features = field.density(points(20_000))
    found, there = density > 0.7 / 0.3, occupied > 0
    assert float((found & there).sum() / (found | there).sum()) > 0.9
    assert float((field.colour(features) - colour)[there].detach().square().mean()) < 0.01


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"width": 0}, "width must be positive"),
        ({"layers": -1}, "layers not negative"),
        ({"blob_radius": 0.0}, "blob_radius must be positive"),
        ({"blob_scale": -1.0}, "blob_scale at least 0"),
        ({"activation": "relu"}, "one of softplus, exp"),
    ],
)
def test_wrong_arguments(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        build(**wrong)
    with pytest.raises(UsageError, match="one stream"):
        RadianceField(encoding("planes"), Streams.for_batch(0, 2))
