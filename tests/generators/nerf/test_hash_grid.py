"""The hash encoding against its definition, a point and a corner at a time."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from modeseek.errors import UsageError
from modeseek.generators.nerf.hash_grid import HashGrid
from modeseek.randomness import Streams

SMALL = {"levels": 5, "features": 3, "table": 512, "base": 3, "growth": 1.9}  # 3, 5, 10, 20, 39 cells: two are dense


def build(**options: float) -> HashGrid:
    grid = HashGrid(Streams(0), **{**SMALL, **options}).double()
    grid.table.data = torch.from_numpy(Streams(1).normal((1, *grid.table.shape))[0].double().numpy())
    return grid


def points(n: int = 40) -> torch.Tensor:
    corners = torch.tensor([[-1.0, -1, -1], [1, 1, 1], [1, -1, 0], [0, 0, 0]])
    return torch.cat([corners, 2 * Streams(2).uniform((1, n, 3))[0] - 1]).double()


def directly(grid: HashGrid, point: list[float], table: int, base: int, growth: float) -> torch.Tensor:
    """Python's integers do not overflow."""
    levels, first = [], grid.origin[:, 0].tolist()
    for level, start in enumerate(first):
        n = math.floor(base * growth**level)
        at = [(p + 1) / 2 * n for p in point]
        low = [min(math.floor(q), n - 1) for q in at]
        out = torch.zeros(grid.features, dtype=torch.float64)
        for corner in itertools.product((0, 1), repeat=3):
            i, j, k = (b + c for b, c in zip(low, corner))
            weight = math.prod(q - b if c else 1 - (q - b) for q, b, c in zip(at, low, corner))
            hashed = ((i * 1) ^ (j * 2654435761) ^ (k * 805459861)) % table
            row = i + (n + 1) * (j + (n + 1) * k) if (n + 1) ** 3 <= table else hashed
            out += weight * grid.table[start + row].detach()
        levels.append(out)
    return torch.cat(levels)


@pytest.mark.parametrize("options", [{}, {"levels": 3, "base": 1500, "growth": 1.3, "table": 1 << 16}, {"levels": 2}])
def test_hash_1(options: dict[str, float]) -> None:
    """HASH-1; the second has coordinates whose products overflow 32 bits, the third no hashed level."""
    grid, arguments = build(**options), {**SMALL, **options}
    expected = [directly(grid, p, *(arguments[k] for k in ("table", "base", "growth"))) for p in points().tolist()]
    torch.testing.assert_close(grid(points()), torch.stack(expected), rtol=0, atol=1e-11)


def test_levels_do_not_share_rows() -> None:
    grid = build()
    for level in range(5):
        grid.table.grad = None
        grid(points(2000))[:, 3 * level : 3 * level + 3].sum().backward()
        rows = grid.table.grad.abs().sum(1).nonzero()[:, 0]
        size = min((grid.resolutions[level] + 1) ** 3, 512)
        start = int(grid.origin[level])
        assert start <= int(rows.min())
        assert int(rows.max()) < start + size
        assert len(rows) > 0.6 * size  # and they are all used
    assert len(grid.table) == 4**3 + 6**3 + 3 * 512


def test_gradients_in_points_and_table() -> None:
    grid = build(levels=3)
    at = points(6)[3:].clone() * 0.97 + 0.011  # off the faces between cells, where the slope jumps
    assert torch.autograd.gradcheck(grid, at.requires_grad_())
    slope = torch.autograd.grad(grid(at).square().sum(), at, create_graph=True)[0]
    slope.square().sum().backward()  # a loss on normals reaches the table
    step, one = 1e-6, torch.zeros_like(grid.table)
    one[int(grid.table.grad.abs().sum(1).argmax()), 0] = 1
    ends = []
    for sign in (1, -1):
        grid.table.data += sign * step * one
        ends.append(float(torch.autograd.grad(grid(at).square().sum(), at)[0].square().sum()))
        grid.table.data -= sign * step * one
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(float((grid.table.grad * one).sum()), rel=1e-5)


def test_it_starts_small_from_its_seed_alone() -> None:
    state = torch.get_rng_state()
    one, two, other = (HashGrid(Streams(seed), **SMALL) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one.table, two.table)
    assert not torch.equal(one.table, other.table)
    assert 0.9e-4 < float(one.table.detach().abs().max()) <= 1e-4
    assert abs(float(one.table.detach().mean())) < 5 * 1e-4 / math.sqrt(3 * one.table.numel())


def test_outside_is_the_face_and_nothing_is_empty() -> None:
    grid = build()
    far, near = (torch.tensor([[x, 0.2, -0.3]], dtype=torch.float64) for x in (7.0, 1.0))
    assert torch.equal(grid(far), grid(near))
    assert grid(points()[:0]).shape == (0, 15) == (0, grid.width)
    torch.testing.assert_close(grid.float()(points().float()), build()(points()).float(), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"levels": 0}, "levels and base must be positive"),
        ({"base": 0}, "levels and base must be positive"),
        ({"growth": 0.9}, "growth must be a number of at least 1"),
        ({"growth": 30.0}, "at most 2\\^20 cells"),
        ({"features": 0}, "features must be positive"),
        ({"table": 1000}, "power of two"),
        ({"table": 2**29}, "below 2\\^31"),
    ],
)
def test_wrong_arguments(wrong: dict[str, float], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        HashGrid(Streams(0), **{**SMALL, **wrong})
    with pytest.raises(UsageError, match="one stream"):
        HashGrid(Streams.for_batch(0, 2), **SMALL)
