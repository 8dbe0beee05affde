"""The paper's Figure 8 and its supplement's Figure 4: where the kernel acts, and what it pulls towards.

Centre: the clean rendering (``exponential``) or the rendering's own inversion at each level, noise-scaled
(``exponential_inverted``). Interval: the kernel on the whole trajectory, or at high noise levels alone, so that the
last steps, which make the details, are the model's own.
"""

from __future__ import annotations

from dataclasses import dataclass

from modeseek.compare.config import Contender
from modeseek.compare.costs import costs, describe
from modeseek.compare.measure import Gauge, Row
from modeseek.compare.report import write_report
from modeseek.compare.run import Comparison
from modeseek.experiments.cells import Book
from modeseek.experiments.config import ReproduceConfig
from modeseek.reports import table

LOW = 1.0  # the limited kernel acts at noise levels from here up: the paper does not say where its interval ends
# a fortieth of the paper's evaluations, and its bandwidths
SHARED = (("sample_steps", 12), ("refresh_every", 8), ("start", "x"))
CENTRES = {"clean": "exponential", "noise-scaled": "exponential_inverted"}
INTERVALS = {"whole trajectory": 0.0, "limited interval": LOW}
EXPECTED = {
    "clean, whole trajectory": "broken: the network sees what it never learnt",
    "clean, limited interval": "better",
    "noise-scaled, whole trajectory": "better",
    "noise-scaled, limited interval": "best; the paper's setting",
}


@dataclass(frozen=True)
class Line:
    """A variant.

    Attributes:
        row: what was measured.
        expected: what the paper's figure shows.
    """

    row: Row
    expected: str


def variants() -> tuple[Contender, ...]:
    """The paper's setting of MSD in four ways."""
    found = []
    for centre, sampler in CENTRES.items():
        for interval, low in INTERVALS.items():
            options = (*SHARED, ("sampler", sampler), ("kernel_low", low))
            found.append(Contender("msd", "paper", options, f"{centre}, {interval}"))
    return tuple(found)


def text(lines: list[Line], floor: Row) -> str:
    """The table as Markdown."""
    head = ["centre and interval", "nfe", "pictures", "Fréchet distance", "similarity x 100", "expected"]
    rows = [
        [
            line.row.name,
            line.row.nfe,
            line.row.pictures,
            f"{line.row.results['frechet'].value:.4f}",
            f"{line.row.results['similarity'].value:.1f}",
            line.expected,
        ]
        for line in lines
    ]
    return table(head, rows) + f"\nFloor, DDIM with other seeds: {floor.results['frechet'].value:.4f}.\n"


def main(config: ReproduceConfig) -> None:
    """Make the pictures that are missing; write ablation.md, ablation.json and the comparison's own report."""
    comparison = Comparison.open(config.comparison("msd"), variants(), say=lambda words: print(words, flush=True))
    print(describe(costs(comparison), str(comparison.prior.device)), flush=True)
    if config.dry_run:
        return
    comparison.paint()
    write_report(comparison)
    gauge = Gauge.of(comparison)
    floor = gauge.row(comparison.contenders[1])
    assert floor is not None
    rows = [row for row in map(gauge.row, comparison.methods) if row is not None]
    lines = [Line(row, EXPECTED[row.name]) for row in rows]
    out = Book(config.folder()).report("ablation", text(lines, floor), lines)
    print(out.read_text())
    print(out)
