"""A comparison on paper: report.md, report.json, contact.png, curves.png."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from modeseek.compare.measure import Gauge, Row, found
from modeseek.compare.run import Comparison
from modeseek.metrics.results import Result
from modeseek.pictures import labelled, png
from modeseek.plots import Curves, curves, keep
from modeseek.reports import plain, table
from modeseek.runs import write_atomic

HEAD = ["pictures of", "number", "nfe", "s a picture", "peak MiB", "Fréchet distance (95 %)", "kernel distance x 1e3"]
HEAD += ["CMMD", "precision", "recall", "similarity x 100"]


def write_report(gauge: Gauge) -> Path:
    """Measure and write; the path of report.md."""
    comparison, rows = gauge.comparison, gauge.rows()
    out = comparison.config.out
    write_atomic(out / "contact.png", contact_sheet(comparison))
    keep(out / "curves", draw(rows))
    write_atomic(out / "report.json", json.dumps(plain(as_json(comparison, gauge, rows)), indent=1))
    write_atomic(out / "report.md", text(comparison, gauge, rows))
    return out / "report.md"


def text(comparison: Comparison, gauge: Gauge, rows: Sequence[Row]) -> str:
    """The report as Markdown."""
    config, reference = comparison.config, gauge.reference
    scale = "7.5 as each source means it" if config.guidance is None else f"{config.guidance:g}"
    parts = [
        f"# {config.protocol} on {comparison.prior.name if config.prior != 'pocket' else 'the shipped model'}",
        f"{len(comparison.texts)} prompts, seeds {config.seeds}, guidance {scale}, weights in {config.dtype}. "
        f"Reference: {reference.count} DDIM-{config.ddim_steps} samples of the same prompts with other seeds; the row "
        "ddim is a second such set, the floor. The same network, prompt and seed stand behind each method's picture.",
        f"Distances: features {reference.label}, {gauge.dimensions or 'all'} dimensions"
        + (" (principal components of the reference)." if gauge.dimensions else ".")
        + f" Similarity: {comparison.clip.extractor().name}, cosine x 100, mean and spread over pictures.",
        table(HEAD, [line(row) for row in rows]).rstrip(),
        "Intervals are those of a bootstrap over the pictures, which draws some twice and so lies above the value. "
        "Distances of few pictures are biased upwards; hold rows of equal numbers against each other.",
        "![DDIM first, then the methods in the order of the table; a column a prompt, first seed](contact.png)",
        "![Fréchet distance against steps, evaluations and seconds](curves.png)",
    ]
    if any(row.name.startswith("vsd") for row in rows):
        count = len(config.chosen_seeds())
        parts.append(
            f"VSD: the seeds of a prompt are its particles, {count} of them, and share one LoRA; they travel alone, so "
            f"its seconds are those of batches of {count}, the others' of {config.batch}. Its training is not in nfe."
        )
    if comparison.failed:
        parts += ["Failed:", failures(comparison).rstrip()]
    return "\n\n".join(parts) + "\n"


def failures(comparison: Comparison) -> str:
    """What could not be made, as a table."""
    rows = [[*map(str, where), why] for where, why in comparison.failed.items()]
    return table(["method", "prompt", "seed", "reason"], rows)


def line(row: Row) -> list[object]:
    """A row of the table."""
    r = row.results
    similarity = r["similarity"]
    return [
        row.name,
        row.pictures,
        row.nfe,
        f"{row.seconds:.1f}",
        f"{row.peak_mib:.0f}" if row.peak_mib else "",
        with_interval(r["frechet"]),
        f"{1e3 * r['kernel'].value:.2f}",
        f"{r['cmmd'].value:.2f}" if "cmmd" in r else "",
        f"{r['precision'].value:.2f}" if "precision" in r else "",
        f"{r['recall'].value:.2f}" if "recall" in r else "",
        f"{similarity.value:.1f} ± {similarity.spread or 0:.1f}",
    ]


def with_interval(result: Result) -> str:
    """A distance, and its interval if there is one."""
    ends = "" if result.interval is None else f" ({result.interval[0]:.4f} to {result.interval[1]:.4f})"
    return f"{result.value:.4f}{ends}"


def as_json(comparison: Comparison, gauge: Gauge, rows: Sequence[Row]) -> dict[str, object]:
    """Everything measured, and with what."""
    failed = [[*where, why] for where, why in comparison.failed.items()]
    return {
        "config": {k: v if v is None else str(v) for k, v in dataclasses.asdict(comparison.config).items()},
        "model": comparison.model,
        "features": {"extractor": gauge.reference.label, "dimensions": gauge.dimensions},
        "rows": [dataclasses.asdict(row) for row in rows],
        "failed": failed,
    }


def contact_sheet(comparison: Comparison) -> bytes:
    """PNG: DDIM first, then the methods; a column a prompt, the first seed."""
    names, rows = [], []
    for contender in comparison.contenders[1:]:
        held = {cell.index: painted.final for cell, painted in reversed(found(comparison, contender))}
        if held:
            blank = torch.ones_like(next(iter(held.values())))
            names.append(str(contender))
            rows.append(torch.stack([held.get(k, blank) for k in range(len(comparison.texts))]))
    return png(labelled(torch.stack(rows), names))


def draw(rows: Sequence[Row]) -> dict[str, bytes]:
    """Fréchet distance over a run."""
    floors = [r.results["frechet"].value for r in rows if r.name == "ddim"]
    axes = {"optimiser steps": "steps", "evaluations a picture": "nfe", "seconds a picture": "seconds"}
    runs = {r.name: r.curve for r in rows if r.name != "ddim"}
    items = [
        Curves(
            "",
            label,
            "Fréchet distance to DDIM",
            {name: [(getattr(p, field), max(p.frechet, 1e-4)) for p in curve] for name, curve in runs.items()},
            log_x=True,
            log_y=True,
            levels=dict(zip(["DDIM, other seeds"], (max(value, 1e-4) for value in floors))),
        )
        for label, field in axes.items()
    ]
    return curves(items)
