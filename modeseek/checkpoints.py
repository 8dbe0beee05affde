"""A loop's state as tensors and JSON: what a run writes, and how it is put back without a trace of the stop."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor, nn

from modeseek.distillation import Progress
from modeseek.errors import RunError
from modeseek.estimators.base import Estimator, Trains
from modeseek.optimisers import indices, load_moments, moments

GENERATOR, OPTIMISER, ESTIMATOR, TARGET = "picture.", "optimiser.", "estimator.", "target"


def pack(
    generator: nn.Module, optimiser: torch.optim.Optimizer, progress: Progress, estimator: Estimator
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What ``modeseek.runs.Run.save`` takes.

    Returns:
        tensors by flat names, and what JSON can hold: step, nfe, info, threads, and which parameters have moments.
    """
    kept = moments(optimiser)
    tensors = {GENERATOR + k: v for k, v in generator.state_dict().items()}
    tensors |= {OPTIMISER + k: v for k, v in kept.items()}
    if isinstance(estimator, Trains):
        tensors |= {ESTIMATOR + k: v for k, v in estimator.state_dict().items()}
    if progress.target is not None:
        tensors[TARGET] = progress.target
    state = {"step": progress.step, "nfe": progress.nfe, "info": progress.info, "threads": torch.get_num_threads()}
    return tensors, {**state, "moments": indices(kept)}


def unpack(
    tensors: dict[str, Tensor],
    state: dict[str, Any],
    generator: nn.Module,
    optimiser: torch.optim.Optimizer,
    estimator: Estimator,
    *,
    source: object,
) -> Progress:
    """Put a packed state into a generator, its optimiser and the estimator, in place; on the generator's device.

    Says on stderr if the run used another number of threads: sums in another order differ in the last bits.

    Args:
        source: where the state is from, for the error.

    Raises:
        RunError: if it is the state of something else.
    """
    try:
        generator.load_state_dict(_under(tensors, GENERATOR))
        kept, device = _under(tensors, OPTIMISER), next(generator.parameters()).device
        # a checkpoint of version 0.1.0 does not say: all of them
        if indices(kept) != state.get("moments", list(range(sum(1 for _ in generator.parameters())))):
            raise ValueError("the optimiser's state is not that of these parameters")
        load_moments(optimiser, kept)
        if isinstance(estimator, Trains):
            estimator.load_state_dict(_under(tensors, ESTIMATOR))
        step, threads = int(state["step"]), int(state["threads"])
        target = tensors[TARGET].to(device) if step > 0 else None
        progress = Progress(step, int(state["nfe"]), target, dict(state["info"]))
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise misfit(source, str(error).splitlines()[-1].strip()) from error
    if threads != torch.get_num_threads():
        print(
            f"note: the run used {threads} threads, this one {torch.get_num_threads()}: "
            "the result will be the same to rounding only",
            file=sys.stderr,
        )
    return progress


def misfit(source: object, reason: str) -> RunError:
    """The error of a checkpoint that is not of this run."""
    return RunError(f"the checkpoint in {source} must fit its config.yaml; it does not ({reason})")


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
