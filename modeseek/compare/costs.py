"""What a comparison will cost, measured before it begins: network calls and renderings at the batch's size."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from modeseek.compare.config import Contender
from modeseek.compare.protocols import configure
from modeseek.compare.run import SAMPLES, Comparison
from modeseek.config import ImageConfig
from modeseek.estimators import Trains
from modeseek.generators.base import render
from modeseek.randomness import Streams
from modeseek.reports import duration, table
from modeseek.text2image import build_estimator, build_generator, build_rendering

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
    missing = [(c, len(comparison.missing(c))) for c in wanted]
    missing = [(c, n) for c, n in missing if n]
    if not missing:
        return []
    evaluation, made = seconds_per_evaluation(comparison), {}
    for contender, _ in missing:
        if contender not in SAMPLES:
            image = configure(comparison.config, contender, comparison.texts[0], 0)
            made[contender] = (image, seconds_per_rendering(comparison, image))
    return [_cost(comparison, c, n, evaluation, *made.get(c, (None, 0.0))) for c, n in missing]


def _cost(
    comparison: Comparison,
    contender: Contender,
    cells: int,
    evaluation: float,
    image: ImageConfig | None,
    render: float,
) -> Cost:
    nfe = comparison.nfe(contender)
    if image is None:
        return Cost(contender, cells, 0, nfe, cells * nfe * evaluation)
    assert image.steps is not None
    trained = TRAINING * image.steps * isinstance(build_estimator(image, comparison.prior), Trains)
    return Cost(contender, cells, image.steps, nfe, cells * ((nfe + trained) * evaluation + image.steps * render))


def seconds_per_evaluation(comparison: Comparison) -> float:
    """Of one picture's network call in a full batch, now."""
    prior, n = comparison.prior, comparison.config.batch
    z = torch.zeros(n, *prior.latent_shape, device=prior.device)
    cond = prior.encode_prompt(comparison.texts[0])

    @torch.no_grad()
    def call() -> None:
        float(prior.denoiser(z, 1.0, cond).sum())  # waits for the device

    return _seconds(call) / n


def seconds_per_rendering(comparison: Comparison, image: ImageConfig) -> float:
    """Of one picture's rendering, encoding and the way back, now."""
    prior, n = comparison.prior, comparison.config.batch
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
