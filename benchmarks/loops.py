"""What a run costs beyond its network calls, for every method: against a bare loop that replays them."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.speed import Row
from modeseek.config import ImageConfig
from modeseek.distillation import Progress
from modeseek.estimators import VSD, Estimator, Trained
from modeseek.methods import ESTIMATORS
from modeseek.scene.run import TextToScene
from modeseek.text2image import TextToImage

ROUNDS = 7
STEPS = 48  # about one checkpoint, as in a long run


@dataclass(frozen=True)
class Call:
    """One call of a network of diffusers, as it came."""

    network: nn.Module
    inputs: tuple[Tensor, ...]
    trained: bool


def calls(job: TextToImage | TextToScene, steps: int) -> list[list[Call]]:
    """The network calls of each step, recorded from a run that is then set back."""
    found: list[list[Call]] = [[] for _ in range(steps)]

    def record(network: nn.Module, inputs: tuple[Any, ...]) -> None:
        copies = tuple(x.detach().clone() for x in inputs)
        found[job.progress.step].append(Call(network, copies, torch.is_grad_enabled()))

    networks = [job.prior.denoiser.network]
    if isinstance(job.job.estimator, VSD):
        networks.append(auxiliary(job.job.estimator).denoise.adapted)
    handles = [n.register_forward_pre_hook(record) for n in networks]
    job.advance(stop_after=steps)
    for handle in handles:
        handle.remove()
    job.job.progress = Progress()
    return found


def auxiliary(estimator: Estimator) -> Any:
    """VSD's LoRA and its optimiser."""
    assert isinstance(estimator, VSD)
    trained = estimator.auxiliary
    assert isinstance(trained, Trained)
    return trained


def bare(job: TextToImage, recorded: list[list[Call]]) -> None:
    """The same network, encoder, picture and optimiser calls with nothing around them."""
    for step in recorded:
        job.job.optimiser.zero_grad(set_to_none=True)
        x = job.prior.encode(job.picture())
        with torch.no_grad():
            for call in step:
                if not call.trained:
                    call.network(*call.inputs)
        x.backward(gradient=x.detach())
        for call in step:
            if call.trained:
                train(auxiliary(job.job.estimator), call)
        job.job.optimiser.step()


def train(trained: Any, call: Call) -> None:
    """One step of a LoRA."""
    loss = (call.network(*call.inputs).sample - call.inputs[0]).square().mean()
    trained.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    trained.optimiser.step()


def loop(method: str) -> Row:
    """A run with log, pictures and checkpoints at their default intervals against the bare loop."""
    with tempfile.TemporaryDirectory() as folder:
        options = {"method": method, "steps": STEPS + 1, "out": Path(folder) / "run"}
        job = TextToImage.start(ImageConfig(("hamburger",), **options))
        recorded = calls(job, STEPS)
        bare(job, recorded)
        ratios = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            bare(job, recorded)
            middle = time.perf_counter()
            job.job.progress = Progress()
            job.advance(stop_after=STEPS)
            ratios.append((time.perf_counter() - middle) / (middle - began))
    ratio = statistics.median(ratios)
    name = f"loop of a run / bare loop, {method}, median of {ROUNDS}"
    return Row(name, f"{ratio:.3f}", "at most 1.05", ratio <= 1.05)


MEASURES: tuple[Callable[[], Row], ...] = tuple(partial(loop, method) for method in ESTIMATORS)
