"""The state of a torch optimiser as flat tensors, which a checkpoint can hold without pickling."""

from __future__ import annotations

import torch
from torch import Tensor


def moments(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What an optimiser keeps for each parameter: "index.name" -> tensor."""
    state = optimiser.state_dict()["state"]
    return {f"{index}.{name}": torch.as_tensor(v) for index, kept in state.items() for name, v in kept.items()}


def indices(tensors: dict[str, Tensor]) -> list[int]:
    """The parameters that such tensors are of, rising.

    Raises:
        ValueError: if a key is not "index.name".
    """
    return sorted({int(key.split(".")[0]) for key in tensors})


def load_moments(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what ``moments`` gave; the learning rate and its like stay the optimiser's own.

    Raises:
        ValueError: if they are of other parameters than the optimiser's.
    """
    groups = optimiser.state_dict()["param_groups"]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".")
        state.setdefault(int(index), {})[name] = value
    known = {index for group in groups for index in group["params"]}
    if not state.keys() <= known:
        raise ValueError("the optimiser's state is not that of these parameters")
    optimiser.load_state_dict({"state": state, "param_groups": groups})
