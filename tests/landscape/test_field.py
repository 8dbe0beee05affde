"""A gradient on a grid: which entry is where, and what is refused."""

import pytest
import torch

from modeseek.errors import NonFiniteError, UsageError
from modeseek.landscape import axis, gradient_field
from modeseek.landscape.field import step


def test_axis():
    xs = axis(-1.5, 1.5, 7)
    assert xs.tolist() == [-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5]
    assert xs.dtype == torch.float64
    assert step(xs, "xs") == 0.5


@pytest.mark.parametrize("wrong", [(0.0, 1.0, 2), (1.0, 1.0, 5), (1.0, 0.0, 5), (0.0, float("nan"), 5)])
def test_axis_refuses(wrong):
    with pytest.raises(UsageError, match="three nodes or more from low to high"):
        axis(*wrong)


@pytest.mark.parametrize(
    "nodes", [torch.tensor([0.0, 1.0]), torch.tensor([0.0, 1.0, 3.0]), torch.tensor([2.0, 1.0, 0.0]), torch.zeros(3, 3)]
)
def test_step_refuses(nodes):
    with pytest.raises(UsageError, match="ys must be three or more equidistant rising"):
        step(nodes, "ys")


@pytest.mark.parametrize("batch", [1, 7, 4096])
def test_entry_i_j_is_at_x_i_y_j(batch):
    xs, ys = axis(-1, 1, 5), axis(2, 3, 4)
    calls = []

    def gradient(points):
        calls.append(len(points))
        return torch.stack([points[:, 0] + 10 * points[:, 1], -points[:, 0]], 1)

    field = gradient_field(gradient, xs, ys, batch)
    assert field.shape == (5, 4, 2)
    for i, j in ((0, 0), (4, 0), (1, 3)):
        torch.testing.assert_close(field[i, j], torch.stack([xs[i] + 10 * ys[j], -xs[i]]), rtol=0, atol=1e-14)
    assert sum(calls) == 20
    assert max(calls) == min(batch, 20)


def test_the_gradient_sees_the_axes_dtype_and_gives_float64_without_a_graph():
    seen = []
    weight = torch.ones(2, requires_grad=True)
    field = gradient_field(lambda x: seen.append(x.dtype) or x * weight, axis(0, 1, 3).float(), axis(0, 1, 3).float())
    assert seen == [torch.float32]
    assert field.dtype == torch.float64
    assert not field.requires_grad


def test_refuses():
    xs = axis(0, 1, 3)
    with pytest.raises(UsageError, match=r"gradient must give \(9, 2\)"):
        gradient_field(lambda x: x[:, 0], xs, xs)
    with pytest.raises(NonFiniteError, match=r"at \[0.5, 1.0\]"):
        gradient_field(lambda x: x / (x - x.new_tensor([0.5, 1.0])).norm(dim=1, keepdim=True).ceil(), xs, xs)
