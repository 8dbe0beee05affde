"""Micro-batches: the same rows, a few at a time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from modeseek.denoisers.base import Cond, Counting
from modeseek.denoisers.batches import MicroBatchedAsk, MicroBatches
from modeseek.denoisers.mixture import MixtureDenoiser
from modeseek.densities import GaussianMixture
from modeseek.errors import UsageError
from modeseek.guidance import CFG
from modeseek.noise import Sigma, column


class Seen:
    """``D = z / (1 + sigma^2) + cond``, that keeps what it was asked."""

    sigma_min, sigma_max = 0.01, 100.0

    def __init__(self) -> None:
        self.rows: list[int] = []

    def cost(self, sigma: Sigma) -> int:
        return 1

    def __call__(self, z: Tensor, sigma: Sigma, cond: Cond = None) -> Tensor:
        self.rows.append(len(z))
        level = column(torch.as_tensor(sigma, dtype=z.dtype).expand(len(z)), z)
        assert cond is None or isinstance(cond, Tensor)
        return z / (1 + level**2) + (0.0 if cond is None else cond.expand(len(z), *cond.shape[1:]))


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


@pytest.mark.parametrize(("size", "rows"), [(1, [1] * 5), (2, [2, 2, 1]), (3, [3, 2]), (5, [5]), (9, [5])])
@pytest.mark.parametrize("cond", [None, normal(1, 2), normal(5, 2)], ids=["none", "one row", "rows"])
@pytest.mark.parametrize("sigma", [0.7, torch.tensor(0.7), torch.linspace(0.1, 3, 5, dtype=torch.float64)], ids=repr)
def test_every_row_is_as_in_one_call(size: int, rows: list[int], cond: Cond, sigma: Sigma) -> None:
    seen, z = Seen(), normal(5, 2)
    got = MicroBatches(seen, size)(z, sigma, cond)
    assert seen.rows == rows
    assert torch.equal(got, Seen()(z, sigma, cond))


def test_conditions_that_are_mappings() -> None:
    shapes = []

    class Reads(Seen):
        def __call__(self, z: Tensor, sigma: Sigma, cond: Cond = None) -> Tensor:
            assert isinstance(cond, dict)
            shapes.append({k: (*v.shape,) for k, v in cond.items()})
            return super().__call__(z, sigma, cond["text"] * cond["scale"][:, None])

    cond = {"text": normal(3, 2), "scale": normal(1)}
    z = normal(3, 2)
    got = MicroBatches(Reads(), 2)(z, 0.5, cond)
    assert shapes == [{"text": (2, 2), "scale": (2,)}, {"text": (1, 2), "scale": (1,)}]
    assert torch.equal(got, Seen()(z, 0.5, cond["text"] * cond["scale"]))


def test_inside_guidance_it_cuts_the_doubled_batch_and_counts_the_same() -> None:
    seen, z, levels = Seen(), normal(3, 2), torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    cond, uncond = normal(3, 2), normal(1, 2)
    small = Counting(CFG(MicroBatches(seen, 2), 4.0, uncond))
    whole = Counting(CFG(Seen(), 4.0, uncond))
    assert torch.equal(small(z, levels, cond), whole(z, levels, cond))
    assert seen.rows == [2, 2, 2]
    assert small.nfe == whole.nfe == 2


def test_gradients_and_limits_are_the_denoisers() -> None:
    mixture = GaussianMixture.isotropic(normal(4, 2), 0.3)
    denoiser = MixtureDenoiser(mixture)
    small, z = MicroBatches(denoiser, 2), normal(5, 2).requires_grad_()
    assert (small.sigma_min, small.sigma_max) == (denoiser.sigma_min, denoiser.sigma_max)
    (got,) = torch.autograd.grad(small(z, 0.6).square().sum(), z)
    (expected,) = torch.autograd.grad(denoiser(z, 0.6).square().sum(), z)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-14)


def test_a_way_to_call_a_network() -> None:
    calls: list[tuple[int, int, int]] = []

    def ask(network: Any, z: Tensor, t: Tensor, cond: Cond) -> Tensor:
        assert isinstance(cond, dict)
        calls.append((len(z), len(t), len(cond["text"])))
        return network * z + t[:, None] + cond["text"]

    z, t, cond = normal(5, 2), normal(5), {"text": normal(1, 2)}
    got = MicroBatchedAsk(ask, 2)(3.0, z, t, cond)
    assert calls == [(2, 2, 2), (2, 2, 2), (1, 1, 1)]
    assert torch.equal(got, 3.0 * z + t[:, None] + cond["text"])


@pytest.mark.parametrize("size", [0, -1])
def test_a_size_of_nothing_is_refused(size: int) -> None:
    with pytest.raises(UsageError, match=f"a micro-batch must have at least 1 row, got {size}"):
        MicroBatches(Seen(), size)
    with pytest.raises(UsageError, match=f"a micro-batch must have at least 1 row, got {size}"):
        MicroBatchedAsk(lambda network, z, t, cond: z, size)


@pytest.mark.parametrize("rows", [2, 3, 5])
def test_a_condition_of_another_number_of_rows_is_refused(rows: int) -> None:
    # 3 rows cut in twos would leave one, which would pass for a condition of all
    with pytest.raises(UsageError, match=f"a condition must have 1 or 4 rows, got {rows}"):
        MicroBatches(Seen(), 2)(normal(4, 2), 1.0, normal(rows, 2))
    with pytest.raises(UsageError, match=f"a condition must have 1 or 4 rows, got {rows}"):
        MicroBatches(Seen(), 2)(normal(4, 2), 1.0, {"text": normal(rows, 2)})
