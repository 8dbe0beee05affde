"""What the experiments on images share: the cost said first, the report with its failures, the exit code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modeseek.compare.config import Contender
from modeseek.compare.costs import costs, describe
from modeseek.compare.measure import Gauge, Row
from modeseek.compare.report import failures
from modeseek.compare.run import SAMPLES, Comparison
from modeseek.errors import RunError
from modeseek.experiments.cells import Book
from modeseek.experiments.config import ReproduceConfig


def opened(config: ReproduceConfig, methods: Sequence[Contender] | None = None, names: str = "msd") -> Comparison:
    """The comparison behind an experiment, of ``methods`` or of the named ones.

    Raises:
        UsageError, PriorError: see ``Comparison.open``.
    """
    comparison = Comparison.open(config.comparison(names), methods, say=lambda line: print(line, flush=True))
    comparison.measurable()
    return comparison


def begin(comparison: Comparison, config: ReproduceConfig, contenders: Sequence[Contender] | None = None) -> bool:
    """Say what it will cost; make the pictures unless it is a dry run, and tell whether they were made."""
    print(describe(costs(comparison, contenders), str(comparison.prior.device)), flush=True)
    if not config.dry_run:
        comparison.paint(contenders)
    return not config.dry_run


def floor(gauge: Gauge) -> Row:
    """The row of DDIM samples with other seeds.

    Raises:
        RunError: if they failed.
    """
    row = gauge.row(SAMPLES[1])
    if row is None:
        raise RunError(f"the samples must be there to compare with; they failed:\n{failures(gauge.comparison)}")
    return row


def tell(comparison: Comparison, config: ReproduceConfig, text: str, rows: Sequence[Any]) -> int:
    """Write and print NAME.md and NAME.json, with what failed; the exit code."""
    if comparison.failed:
        text += f"\nFailed:\n\n{failures(comparison)}"
    out = Book(config.folder()).report(config.what, text, rows)
    print(out.read_text())
    print(out)
    return 1 if comparison.failed else 0
