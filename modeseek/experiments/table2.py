"""The paper's Table 2: where points end that follow each method's gradient, on three sets.

Every method moves the same points, a dense grid on [-1.5, 1.5]^2, by 150 steps of Adam at 0.08. DDIM, which moves none,
draws as many samples; so does the row of true samples, which says what a perfect sampler would score.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modeseek.errors import UnstableError
from modeseek.experiments.cells import Book, Numbers, Spread, over_seeds
from modeseek.lab.config import PAPER_BANDWIDTH, DenoiserName, LabConfig
from modeseek.lab.measure import Truth
from modeseek.lab.points import moved
from modeseek.lab.problem import FRESH, Problem

SETS = ("fractal", "spiral", "pinwheel")
DENOISERS: tuple[DenoiserName, ...] = ("ideal", "learned")
PAPER = {  # set, denoiser, method -> NLL, precision, recall; what the paper does not give is left out
    ("fractal", "ideal", "DDIM"): (-1.85, 0.97, 0.93),
    ("fractal", "learned", "DDIM"): (-1.51, 0.95, 0.96),
    ("fractal", "ideal", "SDS"): (36.15, 0.08, 0.03),
    ("fractal", "learned", "SDS"): (9.12, 0.01, 0.0),
    ("fractal", "ideal", "MSD"): (-1.32, 0.92, 0.33),
    ("fractal", "learned", "MSD"): (-2.02, 0.97, 0.42),
    ("spiral", "ideal", "MSD"): (-1.28, 0.99, 0.18),
    ("spiral", "learned", "MSD"): (-1.51, 0.98, 0.18),
    ("pinwheel", "ideal", "MSD"): (-1.94, 0.99, 0.01),
    ("pinwheel", "learned", "MSD"): (-2.19, 0.99, 0.13),
}
STARTS = (0.02, 0.03, 0.05, 0.07, 0.1, 0.15, PAPER_BANDWIDTH, 0.316)
ENDS = (0.005, 0.01, 0.02, 0.04)
MEASURED = ("nll", "precision", "recall", "mmd", "at_modes", "modes_found", "distance")


@dataclass(frozen=True)
class Method:
    """A row of the table, before set and denoiser are chosen.

    Attributes:
        name: in words.
        options: of ``LabConfig``, where they differ from its defaults.
        paper: the paper's name of what this row stands for; empty for rows that the paper has not.
        seeds: how many.
        differs: from the paper, or from the row above.
    """

    name: str
    options: Mapping[str, Any]
    paper: str = ""
    seeds: int = 1
    differs: str = ""


UNIFORM_5 = {"method": "sds", "time_low": 0.0, "time_high": 1.0}
NARROW = 0.1  # the initial bandwidth that keeps the coverage, see coverage()
METHODS = (
    Method("DDIM-32", {"method": "ddim"}, "DDIM", 3),
    Method("SDS, sigma uniform in [0, 5]", UNIFORM_5, "SDS", 3, "the paper leaves levels and weight open"),
    Method("SDS, sigma uniform in [0, 1]", UNIFORM_5 | {"time_high": 0.2}, differs="levels"),
    Method("SDS, Stable Diffusion's levels", {"method": "sds", "levels": "vp"}, differs="levels"),
    Method("SDS, weight 1", UNIFORM_5 | {"weighting": "uniform"}, differs="weight"),
    Method("VSD, exact score of the points", {"method": "vsd"}, differs="not in the paper's table"),
    Method("VSD, trained score", {"method": "vsd", "auxiliary": "trained"}, differs="not in the paper's table"),
    Method("SDI", {"method": "sdi"}, differs="not in the paper's table"),
    Method("MSD, `posterior_mean`", {}, "MSD", 3, "no sampling"),
    Method("MSD, `posterior_mean`, from 0.1", {"bandwidth_start": NARROW}, "MSD", 3, "a narrower kernel to begin with"),
    Method("MSD, `exact`", {"sampler": "exact"}, "MSD", 3, "one product sample a step; the paper averages 1000"),
    Method("MSD, `exponential`", {"sampler": "exponential"}, differs="sampler"),
    Method("MSD, `exponential_inverted`", {"sampler": "exponential_inverted"}, differs="sampler"),
    Method("MSD, `proximal`", {"sampler": "proximal"}, differs="sampler"),
    Method("MSD, `gibbs`", {"sampler": "gibbs"}, differs="sampler"),
    Method("MSD, `summed`", {"sampler": "summed"}, differs="sampler"),
)


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        set: of points.
        denoiser: ideal or learned.
        method: in words.
        differs: from the paper.
        paper: NLL, precision and recall; None where the paper has no such row.
        ours: each number over the seeds; None where the method cannot run.
        note: why it cannot.
    """

    set: str
    denoiser: str
    method: str
    differs: str
    paper: tuple[float, float, float] | None
    ours: Mapping[str, Spread] | None
    note: str = ""


def configure(name: str, denoiser: DenoiserName, method: Method, seed: int, full: bool) -> LabConfig:
    """The configuration of one cell: N = 1 from a 16 x 16 grid; the paper's N = 1000 if full."""
    many = {"n_samples": 1000} if full and method.options.get("sampler", "posterior_mean") != "posterior_mean" else {}
    return LabConfig(set=name, denoiser=denoiser, points=16, seed=seed, **(dict(method.options) | many))


def measure(config: LabConfig) -> Numbers:
    """Run one cell."""
    problem = Problem.of(config)
    return Truth.of(config, problem).measure(moved(config, problem))


def truth(config: LabConfig) -> Numbers:
    """What as many fresh samples of the density itself score, and its entropy."""
    problem = Problem.of(config)
    held = Truth.of(config, problem)
    entropy = -float(problem.density.log_prob(held.samples).mean())
    return held.measure(problem.sample(config.points**2, config.seed, FRESH)) | {"entropy": entropy}


def row(book: Book, name: str, denoiser: DenoiserName, method: Method, seeds: int, full: bool) -> Row:
    """One row, measured or read."""
    head = (name, denoiser, method.name, method.differs, PAPER.get((name, denoiser, method.paper)))
    cells = []
    for seed in range(min(seeds, method.seeds)):
        config = configure(name, denoiser, method, seed, full)
        try:
            what = f"table2, {name}, {denoiser}, {method.name}, seed {seed}"
            cells.append(book.cell(what, config, lambda config=config: measure(config)))  # type: ignore[misc]
        except UnstableError as error:
            return Row(*head, None, f"diverges: {error}")
    return Row(*head, over_seeds(cells))


def coverage(book: Book, name: str, denoiser: DenoiserName) -> list[tuple[float, Numbers]]:
    """Initial bandwidth -> numbers, posterior mean, one seed, 32 x 32 points."""
    out = []
    for start in STARTS:
        config = LabConfig(set=name, denoiser=denoiser, bandwidth_start=start)
        what = f"table2, {name}, {denoiser}, coverage from {start:.3g}"
        out.append((start, book.cell(what, config, lambda config=config: measure(config))))  # type: ignore[misc]
    return out


def smaller(book: Book, name: str) -> list[tuple[float, Numbers]]:
    """Last bandwidth -> numbers: below the default, 150 steps of Adam cannot settle."""
    out = []
    for end in ENDS:
        config = LabConfig(set=name, bandwidth_end=end)
        what = f"table2, {name}, ideal, settling at {end:.3g}"
        out.append((end, book.cell(what, config, lambda config=config: measure(config))))  # type: ignore[misc]
    return out
