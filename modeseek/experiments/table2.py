"""The paper's Table 2: where points end that follow each method's gradient, on three sets.

Every method moves the same points, a dense grid on [-1.5, 1.5]^2, by 150 steps of Adam at 0.08. DDIM, which moves none,
draws as many samples; so does the row of true samples, which says what a perfect sampler would score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from modeseek.experiments.cells import Book, Numbers, Spread
from modeseek.experiments.config import ReproduceConfig
from modeseek.experiments.coverage import coverage, discrepancy, smaller, variance
from modeseek.experiments.planar import DENOISERS, UNIFORM_5, Method, Row, filled, measure, narrow, opened, truth
from modeseek.lab.config import DenoiserName, LabConfig
from modeseek.plots import Curves, curves, keep, require
from modeseek.reports import table
from modeseek.runs import write_atomic

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
PLACE = {"precision": 1, "recall": 2}  # in a row of PAPER
MEASURED = ("nll", "precision", "recall", "mmd", "at_modes", "modes_found", "distance")


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
    Method("MSD, `posterior_mean`, narrow", {}, "MSD", 3, "bandwidth from 0.1 (pinwheel: 0.05)", narrow=True),
    Method("MSD, `exact`", {"sampler": "exact"}, "MSD", 3, "one product sample a step; the paper averages 1000"),
    Method("MSD, `exponential`", {"sampler": "exponential"}, differs="sampler"),
    Method("MSD, `exponential_inverted`", {"sampler": "exponential_inverted"}, differs="sampler"),
    Method("MSD, `proximal`", {"sampler": "proximal"}, differs="sampler"),
    Method("MSD, `gibbs`", {"sampler": "gibbs"}, differs="sampler"),
    Method("MSD, `summed`", {"sampler": "summed"}, differs="sampler"),
)


Line = Row[tuple[float, float, float] | None]


def configure(name: str, denoiser: DenoiserName, method: Method, seed: int, full: bool) -> LabConfig:
    """The configuration of one cell: N = 1 from a 16 x 16 grid; the paper's N = 1000 if full."""
    many = {"n_samples": 1000} if full and method.options.get("sampler", "posterior_mean") != "posterior_mean" else {}
    start = {"bandwidth_start": narrow(name)} if method.narrow else {}
    return LabConfig(set=name, denoiser=denoiser, points=16, seed=seed, **(dict(method.options) | many | start))


def row(book: Book, name: str, denoiser: DenoiserName, method: Method, seeds: int, full: bool) -> Line:
    """One row, measured or read."""
    configs = [configure(name, denoiser, method, seed, full) for seed in range(min(seeds, method.seeds))]
    many = configs[0].n_samples > 1
    differs = "1000 product samples a step, as the paper" if many else method.differs
    blank: Line = Row(name, denoiser, method.name, differs, PAPER.get((name, denoiser, method.paper)))
    return filled(book, "table2", blank, configs, measure)


def text(rows: Sequence[Line], truths: Mapping[tuple[str, DenoiserName], Numbers]) -> str:
    """The table as Markdown: NLL, precision and recall beside the paper's, and what the paper has not."""
    head = ["set", "denoiser", "method", "NLL", "paper", "precision", "paper", "recall", "paper", "at a mode"]
    head += ["modes found", "MMD x 1e3", "differs"]
    lines: list[list[object]] = []
    for (name, denoiser), found in truths.items():
        cells: list[object] = [found["nll"], "", found["precision"], "", found["recall"], "", found["at_modes"]]
        cells += [found["modes_found"], 1e3 * found["mmd"]]
        shown = [c if isinstance(c, str) else f"{c:.2f}" for c in cells]
        lines.append([name, denoiser, "*true samples*", *shown, f"entropy {found['entropy']:.2f}"])
        lines += [_line(r) for r in rows if (r.set, r.denoiser) == (name, denoiser)]
    return table(head, lines)


def _line(r: Line) -> list[object]:
    if r.ours is None:
        return [r.set, r.denoiser, r.method, *[""] * 9, r.note]
    paper = ["" if r.paper is None else f"{value:.2f}" for value in r.paper or (None,) * 3]
    mmd = r.ours["mmd"]
    thousand = Spread(1e3 * mmd.mean, None if mmd.spread is None else 1e3 * mmd.spread)
    ours = [r.ours[name] for name in ("nll", "precision", "recall")]
    pairs = [cell for pair in zip(ours, paper) for cell in pair]
    return [r.set, r.denoiser, r.method, *pairs, r.ours["at_modes"], r.ours["modes_found"], thousand, r.differs]


def main(config: ReproduceConfig) -> None:
    """Measure what is not there yet, write table2.md, table2.json and the figures."""
    require()
    sets, book, rows, truths = opened(config), Book(config.folder()), [], {}
    for name in sets:
        for denoiser in DENOISERS:
            start = configure(name, denoiser, METHODS[0], 0, False)
            what = f"table2, {name}, {denoiser}, true samples"
            truths[name, denoiser] = book.cell(what, start, partial(truth, start))
            rows += [row(book, name, denoiser, method, config.count, config.full) for method in METHODS]
    out = book.report("table2", text(rows, truths), rows)
    plots = []
    for name in sets:
        found = {str(d): coverage(book, name, d) for d in DENOISERS}
        for number in ("recall", "modes_found", "precision"):
            lines = {d: [(start, cells[number]) for start, cells in line] for d, line in found.items()}
            levels = {"true samples": truths[name, "ideal"][number]}
            if number in PLACE and (name, "ideal", "MSD") in PAPER:
                levels["paper, ideal"] = PAPER[name, "ideal", "MSD"][PLACE[number]]
            title = f"{name}, 256 points"
            axis = ("initial bandwidth", number.replace("_", " "))
            plots.append(Curves(title, *axis, lines, log_x=True, levels=levels))
    keep(config.folder() / "table2-coverage", curves(plots))
    spread = [
        Curves(name, "product samples a step", "spread / |shift|", variance(book, name), log_x=True, log_y=True)
        for name in sets
    ]
    keep(config.folder() / "table2-variance", curves(spread))
    settled = [[end, *(f"{c[k]:.2f}" for k in MEASURED)] for end, c in smaller(book, sets[0])]
    write_atomic(config.folder() / "table2-settling.md", table([f"{sets[0]}, last bandwidth", *MEASURED], settled))
    kernels = discrepancy(book, sets[0])
    write_atomic(config.folder() / "table2-kernels.md", table([f"{sets[0]}, MMD x 1e3", *kernels[0]], kernels[1]))
    print(out.read_text())
    print(f"{out}, {config.folder() / 'table2-coverage.png'}, {config.folder() / 'table2-variance.png'}")
