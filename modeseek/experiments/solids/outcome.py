"""One run of the benchmark: fields, all from random weights, driven by one method, and where they end."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from modeseek.distillation import distill
from modeseek.experiments.cells import Numbers
from modeseek.experiments.solids.fields import Build
from modeseek.experiments.solids.methods import Method, build
from modeseek.experiments.solids.score import Judge
from modeseek.experiments.solids.views import Stock, Watched
from modeseek.randomness import Streams


@dataclass(frozen=True)
class Setting:
    """What all methods share.

    Attributes:
        views: a step.
        lr: of Adam.
        shown: end pictures to keep.
    """

    views: int = 1
    lr: float = 1e-2
    shown: int = 4


@dataclass(frozen=True)
class Outcome:
    """Where one field ended.

    Attributes:
        numbers: of the score, and what was spent.
        pictures: (shown, 3, H, H), held-out views.
    """

    numbers: Numbers
    pictures: Tensor


def run(
    method: Method, budget: int, seeds: list[int], stock: Stock, judge: Judge, field: Build, setting: Setting
) -> list[Outcome]:
    """One field for each seed, driven together for ``budget`` evaluations a view.

    Raises:
        UnstableError, NonFiniteError: if the method cannot be run.
    """
    steps = method.length(budget)
    estimator = build(method, steps)
    renderers = [field(seed) for seed in seeds]
    watched = Watched(renderers, stock.cameras, stock.pictures.shape[-1], hold=method.hold)
    rows = [seed for seed in seeds for _ in range(setting.views)]
    rng = Streams(rows, [k for _ in seeds for k in range(setting.views)])
    known = _known(method, stock, seeds)
    progress = distill(
        watched, estimator, lambda seen: known[seen], steps=steps, rng=rng, lr=setting.lr, refresh_every=method.hold
    )
    ends = []
    for renderer in renderers:
        score, pictures = judge.score(renderer)
        found = {"solid": score.solid, "psnr": score.psnr, "margin": score.margin, "iou": score.iou}
        spent = {"on_one": score.on_one, "nfe": progress.nfe, "steps": steps}
        ends.append(Outcome({k: float(v) for k, v in (found | spent).items()}, pictures[: setting.shown]))
    return ends


def _known(method: Method, stock: Stock, seeds: list[int]) -> Tensor:
    """Pictures (V, N, 3, H, H) that the denoiser may answer with."""
    if method.data == "one":
        return stock.pictures[:, [seeds[0] % stock.pictures.shape[1]]]
    return stock.pictures if method.data == "all" else stock.pictures.mean(1, keepdim=True)
