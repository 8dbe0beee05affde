"""What a comparison will cost, measured before it begins: network calls and renderings at the batch's size."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial

import torch

from modeseek.compare.config import Contender
from modeseek.compare.protocols import configure
from modeseek.compare.run import SAMPLES, Comparison
from modeseek.generators.base import render
from modeseek.randomness import Streams
from modeseek.reports import duration, table
from modeseek.text2image import build_generator, build_rendering

TRAINING = 3  # evaluations that a training step of an auxiliary counts for: forward and twice as much backward


@dataclass(frozen=True)
class Cost:
    """Of one method.

    Attributes:
        contender: the method.
        cells: pictures that are missing.
        steps: of the optimiser, for each; 0 for samples.
        nfe: evaluations, for each.
        seconds: of all of them.
    """

    contender: Contender
    cells: int
    steps: int
    nfe: int
    seconds: float


def costs(comparison: Comparison, contenders: Sequence[Contender] | None = None) -> list[Cost]:
    """Of every method whose cells are not all there; of ``contenders`` alone if given."""
    wanted = comparison.contenders if contenders is None else contenders
    groups = {contender: batches for contender in wanted if (batches := comparison.batches(contender))}
    evaluation = cache(partial(seconds_per_evaluation, comparison))
    rendering = cache(partial(seconds_per_rendering, comparison))
    found = []
    for contender, batches in groups.items():
        nfe, batch, cells = comparison.nfe(contender), len(batches[0]), sum(map(len, batches))
        steps, seconds = 0, nfe * evaluation(batch)
        if contender not in SAMPLES:
            image = configure(comparison.config, contender, comparison.texts[0], 0)
            steps = image.settings.steps
            trained = TRAINING * image.lora_steps * (contender.method == "vsd")
            seconds += steps * (trained * evaluation(batch) + rendering(batch))
        found.append(Cost(contender, cells, steps, nfe, cells * seconds))
    return found


def seconds_per_evaluation(comparison: Comparison, n: int) -> float:
    """Of one picture's network call in a batch of n, now."""
    prior = comparison.prior
    z = torch.zeros(n, *prior.latent_shape, device=prior.device)
    cond = prior.encode_prompt(comparison.texts[0])

    @torch.no_grad()
    def call() -> None:
        float(prior.denoiser(z, 1.0, cond).sum())  # waits for the device

    return _seconds(call) / n


def seconds_per_rendering(comparison: Comparison, n: int) -> float:
    """Of one picture's rendering, encoding and the way back in a batch of n, now; the same for every method."""
    prior, image = comparison.prior, configure(comparison.config, comparison.methods[0], comparison.texts[0], 0)
    picture = build_generator(image, prior, Streams.for_batch(0, n))
    call_generator = render(build_rendering(image, prior, picture))

    def call() -> None:
        x = call_generator(Streams.for_batch(0, n)).image
        torch.autograd.backward(x, x.detach())
        float(next(picture.parameters()).grad.sum())  # type: ignore[union-attr]

    return _seconds(call) / n


def _seconds(call: Callable[[], None]) -> float:
    """The second of two calls."""
    for _ in range(2):
        began = time.perf_counter()
        call()
    return time.perf_counter() - began


def describe(found: list[Cost], workers: str) -> str:
    """The costs as a table."""
    if not found:
        return "every picture is there already\n"
    rows = [[str(c.contender), c.cells, c.steps or "", c.nfe, duration(c.seconds)] for c in found]
    head = ["method", "pictures to make", "steps", "evaluations a picture", f"about, {workers}"]
    return table(head, rows) + f"\nabout {duration(sum(c.seconds for c in found))} in all\n"
