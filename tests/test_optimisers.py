"""An optimiser's state as flat tensors: what goes in comes out, and another's is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from modeseek.optimisers import indices, load_moments, moments

OPTIMISERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "adam": lambda p: torch.optim.Adam(p, lr=0.1),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.1, amsgrad=True),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "plain": lambda p: torch.optim.SGD(p, lr=0.1),
}


def built(name: str) -> tuple[list[nn.Parameter], torch.optim.Optimizer]:
    parameters = [nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(1))]
    return parameters, OPTIMISERS[name]([{"params": parameters[:2]}, {"params": parameters[2:], "lr": 0.01}])


def steps(parameters: list[nn.Parameter], optimiser: torch.optim.Optimizer, first: int, last: int) -> None:
    for k in range(first, last):
        optimiser.zero_grad()
        sum(((p - k) ** 3).sum() for p in parameters[:2]).backward()  # the third never gets a gradient
        optimiser.step()


@pytest.mark.parametrize("name", OPTIMISERS)
def test_goes_on_bit_for_bit(name: str) -> None:
    whole, optimiser = built(name)
    steps(whole, optimiser, 0, 6)
    part, optimiser = built(name)
    steps(part, optimiser, 0, 4)
    kept = {k: v.clone() for k, v in moments(optimiser).items()}
    assert indices(kept) == ([] if name == "plain" else [0, 1])
    again, optimiser = built(name)
    with torch.no_grad():
        for p, q in zip(again, part):
            p.copy_(q)
    load_moments(optimiser, kept)
    assert [g["lr"] for g in optimiser.param_groups] == [0.1, 0.01]
    steps(again, optimiser, 4, 6)
    assert all(torch.equal(a, b) for a, b in zip(whole, again))


@pytest.mark.parametrize("key", ["3.exp_avg", "x.exp_avg", "exp_avg", "0.exp.avg"])
def test_refuses_what_is_of_other_parameters(key: str) -> None:
    with pytest.raises(ValueError):
        load_moments(built("adam")[1], {key: torch.zeros(1)})
