"""Weighted sums of rows of a table, fast on a CPU, with all derivatives: what grids and planes interpolate with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def interpolate(table: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Sums (R, F) of K rows each, ``sum_k weight[r, k] * table[index[r, k]]``.

    Linear in the table and in the weights; it can be differentiated any number of times, as normals in a loss need.
    torch's own gradient of ``embedding_bag`` sorts the indices, which costs ten times its forward pass.

    Args:
        table: (T, F).
        index: (R, K), int32 (half the memory traffic of int64), in [0, T).
        weight: (R, K), of the table's dtype.
    """
    return _combine(table, index, weight)


def cells(position: Tensor, last: Tensor | int) -> tuple[Tensor, Tensor]:
    """Index of the cell (int64, 0 to ``last``) and the place in it, [0, 1], of positions in units of cells."""
    cell = torch.minimum(position.detach().floor(), torch.as_tensor(last).to(position)).clamp(min=0)
    return cell.long(), position - cell


# The form sum_rkf weight[r, k] out[r, f] table[index[r, k], f] is linear in each of three, so its three partial
# derivatives are each other's derivatives.


class _Combine(torch.autograd.Function):
    """Derivative in ``out``: (R, F)."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(table, index, weight)
        if not len(index):
            return table.new_zeros(0, table.shape[1])
        return functional.embedding_bag(index, table, per_sample_weights=weight, mode="sum")

    @staticmethod
    def backward(ctx: Any, out: Tensor) -> Any:
        table, index, weight = ctx.saved_tensors
        in_table = _scatter(out, index, weight, len(table)) if ctx.needs_input_grad[0] else None
        in_weight = _dot(table, index, out) if ctx.needs_input_grad[2] else None
        return in_table, None, in_weight


class _Scatter(torch.autograd.Function):
    """Derivative in ``table``: (T, F)."""

    @staticmethod
    def forward(ctx: Any, out: Tensor, index: Tensor, weight: Tensor, rows: int) -> Tensor:
        ctx.save_for_backward(out, index, weight)
        flat = index.reshape(-1)
        if out.device.type != "cpu":
            values = (weight[:, :, None] * out[:, None]).flatten(0, 1)
            return out.new_zeros(rows, out.shape[1]).index_add_(0, flat, values)
        # a feature at a time: rows of a few numbers cost torch more to address than to add
        columns = [torch.bincount(flat, (weight * o[:, None]).reshape(-1), rows) for o in out.t().contiguous()]
        return torch.stack(columns, 1).to(out.dtype)

    @staticmethod
    def backward(ctx: Any, table: Tensor) -> Any:
        out, index, weight = ctx.saved_tensors
        in_out = _combine(table, index, weight) if ctx.needs_input_grad[0] else None
        in_weight = _dot(table, index, out) if ctx.needs_input_grad[2] else None
        return in_out, None, in_weight, None


class _Dot(torch.autograd.Function):
    """Derivative in ``weight``: (R, K)."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor, out: Tensor) -> Tensor:
        ctx.save_for_backward(table, index, out)
        rows = table.index_select(0, index.reshape(-1)).view(*index.shape, table.shape[1])
        return torch.bmm(rows, out[:, :, None])[:, :, 0]

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> Any:
        table, index, out = ctx.saved_tensors
        weight = weight.contiguous()
        in_table = _scatter(out, index, weight, len(table)) if ctx.needs_input_grad[0] else None
        in_out = _combine(table, index, weight) if ctx.needs_input_grad[2] else None
        return in_table, None, in_out


_combine: Callable[..., Tensor] = _Combine.apply
_scatter: Callable[..., Tensor] = _Scatter.apply
_dot: Callable[..., Tensor] = _Dot.apply
