"""What the bandwidth does to where points end, and what the number of product samples does to their gradient."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from modeseek.experiments.cells import Book, Numbers
from modeseek.experiments.draws import draw
from modeseek.experiments.planar import UNIFORM_5, measure
from modeseek.lab.config import PAPER_BANDWIDTH, DenoiserName, LabConfig
from modeseek.lab.measure import Truth
from modeseek.lab.methods import build_estimator
from modeseek.lab.points import dense_grid, moved
from modeseek.lab.problem import Problem
from modeseek.methods import ProductSamplerName
from modeseek.metrics import mmd

STARTS = (0.02, 0.03, 0.05, 0.07, 0.1, 0.15, PAPER_BANDWIDTH, 0.316)
ENDS = (0.005, 0.01, 0.02, 0.04)
SAMPLERS: tuple[ProductSamplerName, ...] = ("exact", "exponential", "exponential_inverted", "proximal", "gibbs")


def coverage(book: Book, name: str, denoiser: DenoiserName) -> list[tuple[float, Numbers]]:
    """Initial bandwidth -> numbers, posterior mean, one seed, 16 x 16 points."""
    out = []
    for start in STARTS:
        config = LabConfig(set=name, denoiser=denoiser, points=16, bandwidth_start=start)
        what = f"table2, {name}, {denoiser}, coverage from {start:.3g}"
        out.append((start, book.cell(what, config, partial(measure, config))))
    return out


def smaller(book: Book, name: str) -> list[tuple[float, Numbers]]:
    """Last bandwidth -> numbers: below the default, 150 steps of Adam cannot settle."""
    out = []
    for end in ENDS:
        config = LabConfig(set=name, bandwidth_end=end)
        what = f"table2, {name}, ideal, settling at {end:.3g}"
        out.append((end, book.cell(what, config, partial(measure, config))))
    return out


def variance(book: Book, name: str) -> dict[str, list[tuple[float, float]]]:
    """Relative standard deviation of the mean of N product samples, by sampler and N."""
    lines = {}
    for sampler in SAMPLERS:
        lines[str(sampler)] = [(float(n), deviation(book, name, sampler, n)["relative_std"]) for n in (1, 10, 100)]
    return lines


def deviation(book: Book, name: str, sampler: ProductSamplerName, n: int) -> Numbers:
    """Spread of the mean of n product samples over 8 repetitions at 16 points; how far it is from the true shift."""
    config = LabConfig(name, sampler=sampler, n_samples=n, points=4, steps=3, bandwidth_end=PAPER_BANDWIDTH)

    def make() -> Numbers:
        problem, x = Problem.of(config), dense_grid(config)
        draws = draw(build_estimator(config, problem), x, problem.cond, 8, config.seed)
        truth = x - problem.density.posterior_mean(x, config.bandwidth_start)
        spread = float(draws.var(1).sum().sqrt() / truth.norm())
        return {"relative_std": spread, "relative_error": float((draws.mean(1) - truth).norm() / truth.norm())}

    return book.cell(f"table2, {name}, spread of {n} samples of {sampler}", config, make)


def discrepancy(book: Book, name: str) -> tuple[list[str], list[list[str]]]:
    """The MMD under other kernels: head and rows of a table. The paper does not state its own."""
    widths = (0.05, 0.25, 1.0, 4.0)
    rows = []
    for title, options in (("DDIM-32", {"method": "ddim"}), ("SDS", UNIFORM_5), ("MSD", {})):
        config = LabConfig(name, points=16, **options)
        found = book.cell(f"table2, {name}, kernels, {title}", config, partial(_under, config, widths))
        rows.append([title, *(f"{1e3 * found[str(w)]:.2f}" for w in (*widths, "default"))])
    return [*(f"width {w}" for w in widths), "default"], rows


def _under(config: LabConfig, widths: Sequence[float]) -> Numbers:
    problem = Problem.of(config)
    points, held = moved(config, problem), Truth.of(config, problem)
    one = {str(w): mmd(points, held.samples, (w,), scale=1.0) for w in widths}
    return one | {"default": mmd(points, held.samples)}
