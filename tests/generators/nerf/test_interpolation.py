"""Sums of rows of a table, with their derivatives."""

from __future__ import annotations

import torch

from modeseek.generators.nerf.interpolation import cells, interpolate


def problem(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    index = torch.randint(0, 5, (7, 4), generator=rng, dtype=torch.int32)  # 28 looks at 5 rows: all are met again
    table, weight = (torch.randn(n, generator=rng, dtype=dtype).requires_grad_() for n in ((5, 3), (7, 4)))
    return table, index, weight


def test_it_is_the_sum() -> None:
    table, index, weight = problem()
    torch.testing.assert_close(
        interpolate(table, index, weight), torch.einsum("rk,rkf->rf", weight, table[index.long()]), rtol=0, atol=1e-14
    )


def test_gradients_agree_with_finite_differences() -> None:
    table, index, weight = problem()
    assert torch.autograd.gradcheck(lambda t, w: interpolate(t, index, w), (table, weight))
    assert torch.autograd.gradgradcheck(lambda t, w: interpolate(t, index, w).square(), (table, weight))


def test_float32_agrees_with_float64() -> None:
    grads = []
    for dtype in (torch.float32, torch.float64):
        table, index, weight = problem()
        table, weight = (t.detach().to(dtype).requires_grad_() for t in (table, weight))
        interpolate(table, index, weight).square().sum().backward()
        assert table.grad.dtype == weight.grad.dtype == dtype
        grads.append((table.grad.double(), weight.grad.double()))
    for of_32, of_64 in zip(*grads):
        torch.testing.assert_close(of_32, of_64, rtol=1e-5, atol=1e-5)


def test_nothing_gives_nothing() -> None:
    table, _, _ = problem()
    out = interpolate(table, torch.zeros(0, 4, dtype=torch.int32), torch.zeros(0, 4, dtype=torch.float64))
    assert out.shape == (0, 3)
    (grad,) = torch.autograd.grad(out.sum(), table)
    assert torch.equal(grad, torch.zeros_like(table))


def test_the_last_vertex_belongs_to_the_last_cell() -> None:
    cell, fraction = cells(torch.tensor([0.0, 0.25, 2.5, 3.0]), 2)
    assert cell.tolist() == [0, 0, 2, 2]
    assert fraction.tolist() == [0.0, 0.25, 0.5, 1.0]
