"""The rows of the benchmark: each method by the number of evaluations that it may spend."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from modeseek.denoisers.per_view import PerViewIdeal
from modeseek.estimators import MSD, SDI, SDS, VSD, Estimator
from modeseek.experiments.solids.together import Together
from modeseek.methods import PRODUCT_SAMPLERS, ProductOptions
from modeseek.noise import NoiseTable, karras_sigmas
from modeseek.samplers.product import Grid, PosteriorMean
from modeseek.schedules import Anneal, Bandwidth

Data = Literal["all", "one", "mean"]
TABLE = NoiseTable.vp(1000)  # 0.029 to 14.6: below and above the distances between the solids' pictures
START, END = 4.0, 0.5  # bandwidths; two solids' pictures are about 15 apart, and 10 from the mean picture
VARIANCE = 13.0  # for proximal and gibbs: the middle one along the 7 directions in which pictures differ, 5 to 30


@dataclass(frozen=True)
class Method:
    """A row.

    Attributes:
        name: in words.
        estimator: a name of ``modeseek.methods.ESTIMATORS``.
        sampler: of msd.
        steps: T of the sampler's grid, or of sdi's inversion over the whole table.
        hold: optimiser steps that share views and target; about the evaluations of a call, so that every method takes
            about one optimiser step for an evaluation.
        options: of ``ProductOptions``, or of the estimator where it is not msd.
        fields: that are optimised together.
        data: what the denoiser knows: all solids, one of them (the seed says which), or the mean of their pictures.
        note: what a reader should know.
    """

    name: str
    estimator: str
    sampler: str = ""
    steps: int = 7
    hold: int = 1
    options: dict[str, Any] = field(default_factory=dict)
    fields: int = 1
    data: Data = "all"
    note: str = ""

    def length(self, budget: int) -> int:
        """Optimiser steps for ``budget`` evaluations a view; VSD spends two a step."""
        return budget // (2 if self.estimator == "vsd" else 1)


def _msd(sampler: str, steps: int = 3, hold: int = 4, **options: Any) -> Method:
    note = f"T = {steps}, {hold} steps a target" if hold > 1 else "a target a step"
    return Method(f"MSD, `{sampler}`", "msd", sampler, steps, hold, options, note=note)


METHODS = (
    Method("SDS", "sds", note="time 0.02 to 0.98, DreamFusion's weight"),
    Method("VSD", "vsd", fields=4, note="four fields, the exact score of their pictures; with one it is SDS"),
    Method("SDI", "sdi", steps=8, hold=2, note="time 0.98 to 0.25, inverted from sigma 3; 2 steps a target"),
    _msd("posterior_mean", hold=1),
    _msd("exact"),
    _msd("gibbs", 4, sweeps=2, start="x"),
    _msd("proximal"),
    _msd("exponential"),
    _msd("exponential_inverted", 2, max_eps=1.0),
    _msd("summed"),
)
CONTROLS = (
    Method("*one solid is known*", "msd", "posterior_mean", data="one", note="the solid of the seed: what can be had"),
    Method("*the mean picture*", "msd", "posterior_mean", data="mean", note="what a blend scores"),
)


def build(method: Method, steps: int) -> Estimator:
    """The estimator of a row for a run of ``steps``; its condition is the pictures of each row's view.

    Raises:
        UnstableError: if the sampler is known to diverge at the last bandwidth.
    """
    denoiser = PerViewIdeal()
    if method.estimator == "sds":
        return SDS(denoiser, TABLE)
    if method.estimator == "vsd":
        return VSD(denoiser, TABLE, Together(method.fields))
    if method.estimator == "sdi":
        return SDI(
            denoiser,
            TABLE,
            inverse=denoiser,
            time=Anneal(0.98, 0.25, steps),
            inversion_steps=method.steps,
            sigma_start=3.0,  # of the order of x's distance from the data: an inversion multiplies that
            max_eps=1.0,
        )
    bandwidth = Bandwidth(START, END, steps)
    if method.sampler == "posterior_mean":
        return MSD(denoiser, PosteriorMean(), bandwidth)
    options = ProductOptions(data_variance=VARIANCE, **method.options)
    grid = Grid(karras_sigmas(method.steps, 0.1, 16.0))
    sampler = PRODUCT_SAMPLERS[method.sampler].load().build(grid, options, denoiser)
    sampler.check(END)
    return MSD(denoiser, sampler, bandwidth)
