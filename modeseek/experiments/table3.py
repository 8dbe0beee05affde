"""The paper's Table 3: text to image by every method, Fréchet distance to DDIM samples and image-text similarity.

The paper measures on Stable Diffusion with Inception and CLIP L/14 and ten prompts; distances of other models, features
and numbers of pictures are other numbers, and only their order can be held against the paper's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from modeseek.compare.config import Contender
from modeseek.compare.measure import Gauge, Row, finals, found
from modeseek.compare.report import write_report
from modeseek.experiments.config import ReproduceConfig
from modeseek.experiments.images import begin, floor, opened, tell
from modeseek.metrics.bootstrap import Bootstrap
from modeseek.metrics.distance import difference
from modeseek.metrics.results import Result
from modeseek.reports import table

METHODS = "sds,vsd,sdi,msd"
PAPER = {
    "ddim": (None, 44.1),
    "sds": (198.9, 27.7),
    "sdi": (166.2, 31.0),
    "msd": (114.1, 32.6),
    "msd:paper": (114.1, 32.6),
}
EXPECTED = 0.6  # of SDS's distance above the floor


@dataclass(frozen=True)
class Line:
    """A method beside the paper.

    Attributes:
        row: what was measured.
        above: distance above the floor, as a share of that of SDS; None for the floor itself.
        paper: the paper's Fréchet distance and similarity; None where it has none.
        nearer: Fréchet distance of SDS minus this method's, the same pictures resampled together; None for SDS.
    """

    row: Row
    above: float | None
    paper: tuple[float | None, float] | None
    nearer: Result | None = None


def lines(gauge: Gauge) -> list[Line]:
    """Every method that has pictures."""
    floor(gauge)
    rows = {row.name: row for row in gauge.rows()}
    values = {name: row.results["frechet"].value for name, row in rows.items()}
    out = []
    for name, row in rows.items():
        known = name != "ddim" and "sds" in values
        above = (values[name] - values["ddim"]) / (values["sds"] - values["ddim"]) if known else None
        out.append(Line(row, above, PAPER.get(name), nearer(gauge, Contender.parse(name)) if known else None))
    return out


def nearer(gauge: Gauge, contender: Contender) -> Result | None:
    """How much nearer to the reference than SDS, where both have all pictures."""
    held, sds = (found(gauge.comparison, c) for c in (contender, Contender("sds")))
    whose = [[(cell.index, cell.config.seed) for cell, _ in pairs] for pairs in (held, sds)]
    if contender.method == "sds" or whose[0] != whose[1]:
        return None  # where one lacks a picture, they are no pairs
    far, near = (gauge.extractor.features(finals(pairs)) for pairs in (sds, held))
    return difference("frechet", far, near, gauge.reference, gauge.dimensions, Bootstrap())


def text(found: Sequence[Line]) -> str:
    """The table as Markdown."""
    head = ["method", "pictures", "nfe", "Fréchet distance", "a seed alone", "above the floor, of SDS"]
    head += ["SDS minus this, 95 %", "paper", "kernel distance x 1e3", "similarity x 100", "paper", "s a picture"]
    about = f"Features: {found[0].row.results['frechet'].label}. " if found else ""
    about += "The paper's numbers are those of Stable Diffusion, Inception and CLIP L/14: only the order compares.\n\n"
    shown = table([*head, "peak MiB"], [_cells(line) for line in found])
    return about + shown + "\n" + verdict({x.row.name: x for x in found})


def _cells(line: Line) -> list[object]:
    row, results = line.row, line.row.results
    ends = line.nearer.interval if line.nearer else None
    seeds = row.per_seed
    distance, similarity = line.paper or (None, None)
    return [
        row.name,
        row.pictures,
        row.nfe,
        f"{results['frechet'].value:.4f}",
        f"{mean(seeds):.4f} ± {stdev(seeds):.4f}" if len(seeds) > 1 else "",
        "" if line.above is None else f"{line.above:.2f}",
        "" if ends is None else f"{ends[0]:.4f} to {ends[1]:.4f}",
        "" if distance is None else distance,
        f"{1e3 * results['kernel'].value:.2f}",
        f"{results['similarity'].value:.1f} ± {results['similarity'].spread or 0:.1f}",
        "" if similarity is None else similarity,
        f"{row.seconds:.1f}",
        f"{row.peak_mib:.0f}" if row.peak_mib else "",
    ]


def verdict(found: Mapping[str, Line]) -> str:
    """What was expected of MSD and what came."""
    share = found["msd"].above if "msd" in found else None
    if share is None:
        return ""
    own = found["msd"].row.results["frechet"].value
    others = [n for n in ("sds", "vsd", "sdi") if n in found]
    farther = [n for n in others if found[n].row.results["frechet"].value > own]
    return (
        f"Expected: MSD nearer than {', '.join(others)}; nearer than {', '.join(farther) or 'none of them'} here. "
        f"Expected: at most {EXPECTED} of SDS's distance above the floor; {share:.2f} here"
        f" ({'met' if share <= EXPECTED else 'missed'}).\n"
    )


def main(config: ReproduceConfig) -> int:
    """Make the pictures that are missing; write table3.md, table3.json and the comparison's own report."""
    comparison = opened(config, names=METHODS + (",msd:paper" if config.full else ""))
    if not begin(comparison, config):
        return 0
    gauge = Gauge.of(comparison)
    write_report(gauge)
    table3 = lines(gauge)
    return tell(comparison, config, text(table3), table3)
