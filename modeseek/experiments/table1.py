"""The paper's Table 1: how much signal each gradient estimator gives for its cost, equation MSD-17.

64 points on a grid over [-1.5, 1.5]^2, 1000 draws of the gradient at each, at the initial bandwidth. Against the
estimator's own mean, which is the paper's reading and knows variance only, and against the true mean shift of the
density, which knows the bias as well.
"""

from __future__ import annotations

from collections.abc import Sequence

from modeseek.experiments.cells import Book, Numbers
from modeseek.experiments.config import ReproduceConfig
from modeseek.experiments.draws import gradients
from modeseek.experiments.planar import DENOISERS, UNIFORM_5, Method, Row, filled, opened
from modeseek.lab.config import DenoiserName, LabConfig
from modeseek.lab.methods import build_estimator
from modeseek.lab.points import dense_grid
from modeseek.lab.problem import Problem
from modeseek.metrics import efficiency
from modeseek.reports import table

SIDE, DRAWS = 8, 1000
PAPER = {
    ("fractal", "SDS"): -6.89,
    ("spiral", "SDS"): -7.57,
    ("pinwheel", "SDS"): -6.99,
    ("fractal", "MSD"): 7.65,
    ("spiral", "MSD"): 6.32,
    ("pinwheel", "MSD"): 7.08,
}
SUMMED = {"sampler": "summed", "sample_steps": 256, "sigma_max": 2.0}
METHODS = (
    Method("SDS, sigma uniform in [0, 5]", UNIFORM_5, "SDS", 3, "the paper leaves levels and weight open"),
    Method("SDS, sigma uniform in [0, 1]", UNIFORM_5 | {"time_high": 0.2}, differs="levels"),
    Method("SDS, Stable Diffusion's levels", {"method": "sds", "levels": "vp"}, differs="levels"),
    Method("SDS, weight 1", UNIFORM_5 | {"weighting": "uniform"}, differs="weight"),
    Method("VSD, the 64 points as particles", {"method": "vsd"}, differs="not in the paper's table"),
    Method("SDI, at half of the run's time", {"method": "sdi"}, differs="not in the paper's table"),
    Method("MSD, `posterior_mean`", {}, "MSD", 3, "no sampling, no variance"),
    Method("MSD, `exact`", {"sampler": "exact"}, "MSD", 3, "unbiased: true samples of the product"),
    Method("MSD, `exponential`", {"sampler": "exponential"}, "MSD", 1, "the paper's sampler (eq. 14, 15)"),
    Method("MSD, `exponential_inverted`", {"sampler": "exponential_inverted"}, "", 1, "the paper's, for images"),
    Method("MSD, `proximal`", {"sampler": "proximal"}, differs="sampler"),
    Method("MSD, `gibbs`", {"sampler": "gibbs"}, differs="sampler"),
    Method("MSD, `summed`", {"sampler": "summed"}, differs="the paper's eq. 12 as printed"),
    Method("MSD, `summed`, 256 steps from 2", SUMMED, differs="steps short enough to be stable; 100 draws"),
)


Line = Row[float | None]


def configure(name: str, denoiser: DenoiserName, method: Method, seed: int) -> LabConfig:
    """The configuration of one cell: the initial bandwidth throughout, the middle step of three."""
    fixed = {"points": SIDE, "steps": 3, "bandwidth_end": LabConfig(name).bandwidth_start}
    return LabConfig(name, denoiser=denoiser, seed=seed, **(fixed | dict(method.options)))


def measure(config: LabConfig) -> Numbers:
    """Efficiency, bias and variance of one estimator."""
    problem, x = Problem.of(config), dense_grid(config)
    estimator = build_estimator(config, problem)
    # the mixture's own, not the data's
    truth = x - problem.density.posterior_mean(x, config.bandwidth_start)
    draws = gradients(config, estimator, x, problem.cond, 100 if config.sampler == "summed" else DRAWS)
    found = efficiency(draws, truth, estimator.nfe(1))
    names = ("log_own", "log_true", "relative_bias", "relative_std", "cosine", "floor", "pooled", "resolution")
    return {name: getattr(found, name) for name in names} | {"nfe": estimator.nfe(1), "draws": draws.shape[1]}


def row(book: Book, name: str, denoiser: DenoiserName, method: Method, seeds: int) -> Line:
    """One row, measured or read."""
    blank: Line = Row(name, denoiser, method.name, method.differs, PAPER.get((name, method.paper)))
    configs = [configure(name, denoiser, method, seed) for seed in range(min(seeds, method.seeds))]
    return filled(book, "table1", blank, configs, measure)


def text(rows: Sequence[Line]) -> str:
    """The table as Markdown."""
    head = ["set", "denoiser", "estimator", "nfe", "ln efficiency, own mean", "paper", "ln efficiency, true shift"]
    head += ["pooled", "bias", "spread", "cosine", "differs"]
    return table(head, [_line(r) for r in rows])


def _line(r: Line) -> list[object]:
    if r.ours is None:
        return [r.set, r.denoiser, r.method, *[""] * 8, r.note]
    paper = "" if r.paper is None else f"{r.paper:.2f}"
    shown = [r.ours[name] for name in ("log_true", "pooled", "relative_bias", "relative_std", "cosine")]
    nfe = f"{r.ours['nfe'].mean:.0f}"
    return [r.set, r.denoiser, r.method, nfe, r.ours["log_own"], paper, *shown, r.differs]


def main(config: ReproduceConfig) -> None:
    """Measure what is not there yet; write table1.md and table1.json."""
    sets, book = opened(config), Book(config.folder())
    cells = [(name, denoiser, method) for name in sets for denoiser in DENOISERS for method in METHODS]
    rows = [row(book, *cell, config.count) for cell in cells]
    out = book.report("table1", text(rows), rows)
    print(out.read_text())
    print(out)
