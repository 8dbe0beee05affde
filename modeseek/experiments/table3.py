"""The paper's Table 3: text to image by every method, Fréchet distance to DDIM samples and image-text similarity.

The paper measures on Stable Diffusion with Inception and CLIP L/14 and ten prompts; distances of other models, features
and numbers of pictures are other numbers, and only their order can be held against the paper's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modeseek.compare.config import Contender
from modeseek.compare.costs import costs, describe
from modeseek.compare.measure import Gauge, Row, finals, found
from modeseek.compare.report import write_report
from modeseek.compare.run import Comparison
from modeseek.experiments.cells import Book
from modeseek.experiments.config import ReproduceConfig
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


def lines(comparison: Comparison) -> list[Line]:
    """Every method that has pictures."""
    gauge = Gauge.of(comparison)
    rows = {str(c): row for c in comparison.contenders[1:] if (row := gauge.row(c)) is not None}
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
    if contender.method == "sds" or len(held) != len(sds):
        return None
    far, near = (gauge.extractor.features(finals(pairs)) for pairs in (sds, held))
    return difference("frechet", far, near, gauge.reference, gauge.dimensions, Bootstrap())


def text(found: Sequence[Line]) -> str:
    """The table as Markdown."""
    head = ["method", "pictures", "nfe", "Fréchet distance", "above the floor, of SDS", "SDS minus this, 95 %"]
    head += ["paper", "similarity x 100", "paper", "s a picture", "peak MiB"]
    return table(head, [_cells(line) for line in found]) + "\n" + verdict({x.row.name: x for x in found})


def _cells(line: Line) -> list[object]:
    row, results = line.row, line.row.results
    ends = line.nearer.interval if line.nearer else None
    distance, similarity = line.paper or (None, None)
    return [
        row.name,
        row.pictures,
        row.nfe,
        f"{results['frechet'].value:.4f}",
        "" if line.above is None else f"{line.above:.2f}",
        "" if ends is None else f"{ends[0]:.4f} to {ends[1]:.4f}",
        "" if distance is None else distance,
        f"{results['similarity'].value:.1f} ± {results['similarity'].spread or 0:.1f}",
        "" if similarity is None else similarity,
        f"{row.seconds:.1f}",
        f"{row.peak_mib:.0f}" if row.peak_mib else "",
    ]


def verdict(found: Mapping[str, Line]) -> str:
    """What was expected of MSD and what came."""
    if "msd" not in found or found["msd"].above is None:
        return ""
    msd, own = found["msd"], found["msd"].row.results["frechet"].value
    others = [n for n in ("sds", "vsd", "sdi") if n in found]
    farther = [n for n in others if found[n].row.results["frechet"].value > own]
    share = msd.above
    assert share is not None
    return (
        f"Expected: MSD nearer than {', '.join(others)}; nearer than {', '.join(farther) or 'none of them'} here. "
        f"Expected: at most {EXPECTED} of SDS's distance above the floor; {share:.2f} here"
        f" ({'met' if share <= EXPECTED else 'missed'}).\n"
    )


def main(config: ReproduceConfig) -> None:
    """Make the pictures that are missing; write table3.md, table3.json and the comparison's own report."""
    methods = METHODS + (",msd:paper" if config.full else "")
    comparison = Comparison.open(config.comparison(methods), say=lambda line: print(line, flush=True))
    print(describe(costs(comparison), str(comparison.prior.device)), flush=True)
    if config.dry_run:
        return
    comparison.paint()
    write_report(comparison)
    found = lines(comparison)
    out = Book(config.folder()).report("table3", text(found), found)
    print(out.read_text())
    print(out)
