"""The triplane against torch's own bilinear sampling."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from modeseek.errors import UsageError
from modeseek.generators.nerf.triplane import Triplane
from modeseek.randomness import Streams


def points(n: int = 50) -> torch.Tensor:
    ends = torch.tensor([[-1.0, -1, -1], [1, 1, 1], [1, -1, 0]])
    return torch.cat([ends, 2 * Streams(2).uniform((1, n, 3))[0] - 1]).double()


def directly(planes: Triplane, at: torch.Tensor, sides: list[int]) -> torch.Tensor:
    """``grid_sample`` with ``align_corners``: the first coordinate is the column."""
    tables = list(planes.table.split([side**2 for side in sides] * 3))
    out = []
    for scale, side in enumerate(sides):
        found = []
        for plane, axes in enumerate(((0, 1), (0, 2), (1, 2))):
            picture = tables[plane * len(sides) + scale].view(side, side, -1).permute(2, 0, 1)[None]
            seen = functional.grid_sample(picture, at[None, None, :, axes], align_corners=True)
            found.append(seen[0, :, 0].t())
        out.append(torch.stack(found).prod(0) if planes.combine == "product" else sum(found))
    return torch.cat(out, 1)


@pytest.mark.parametrize("sides", [[7], [3, 6, 12]])
@pytest.mark.parametrize("combine", ["product", "sum"])
def test_hash_2(sides: list[int], combine: str) -> None:
    """HASH-2, and its gradient."""
    planes = Triplane(Streams(0), resolution=sides, features=4, combine=combine).double()
    expected = directly(planes, points(), sides)
    torch.testing.assert_close(planes(points()), expected, rtol=0, atol=1e-13)
    target = torch.sin(torch.arange(expected.numel(), dtype=torch.float64)).view_as(expected)
    (ours,) = torch.autograd.grad((planes(points()) * target).sum(), planes.table)
    (theirs,) = torch.autograd.grad((expected * target).sum(), planes.table)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_gradients_in_points() -> None:
    planes = Triplane(Streams(0), resolution=(4, 9), features=3).double()
    at = (0.9 * points(5)[3:] + 0.013).requires_grad_()
    assert torch.autograd.gradcheck(planes, at)
    assert torch.autograd.gradgradcheck(planes, at)


def test_the_seed_is_all_there_is() -> None:
    state = torch.get_rng_state()
    one, two, other = (Triplane(Streams(seed)) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one.table, two.table)
    assert not torch.equal(one.table, other.table)


def test_edges() -> None:
    planes = Triplane(Streams(0), resolution=(4, 9), features=3)
    assert planes(points()[:0].float()).shape == (0, 6) == (0, planes.width)
    far, near = (torch.tensor([[0.1, x, 0.3]]) for x in (-9.0, -1.0))
    assert torch.equal(planes(far), planes(near))
    assert Triplane(Streams(0), resolution=5, features=3).width == 3


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"resolution": 1}, "resolution must be at least 2"),
        ({"resolution": ()}, "resolution must be at least 2"),
        ({"features": 0}, "features at least 1"),
        ({"combine": "max"}, '"product" or "sum"'),
    ],
)
def test_wrong_arguments(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Triplane(Streams(0), **wrong)
    with pytest.raises(UsageError, match="one stream"):
        Triplane(Streams.for_batch(0, 2))
