"""Measure what the docs state and print the table: ``python -m benchmarks [--out docs/benchmarks.md]``."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from pathlib import Path

from benchmarks import ideal, loops, memory, render, scene, speed

WHY = """\
The ideal denoiser misses its factor of 5 against chunks since it is bound by exponentials: a pair costs 0.86 ns on two
threads, of which float64 `exp` alone takes 0.6. Chunks that stay in the cache have the same bound; the 22 to 28 s that
large ones take are memory traffic. The chunk that is best in the search, and so the ratio, varies from run to run (1.8
to 4.5).
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="write the page there as well")
    args = parser.parse_args()
    rows = [
        measure()
        for measure in (
            *speed.MEASURES,
            *memory.MEASURES,
            *loops.MEASURES,
            *scene.MEASURES,
            *render.MEASURES,
            *ideal.MEASURES,
        )
    ]
    lines = ["| what | measured | expected | met |", "|---|---|---|---|"]
    lines += [f"| {r.what} | {r.measured} | {r.expected} | {'yes' if r.met else '**no**'} |" for r in rows]
    table = "\n".join(lines) + "\n"
    print(table)
    if args.out:
        import torch

        head = (
            "# Benchmarks\n\nMade by `python -m benchmarks --out docs/benchmarks.md`. Ratios are measured side by side "
            "in one process run, interleaved, and are medians.\n\n"
            f"Machine: {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, "
            f"torch {torch.__version__}, {torch.get_num_threads()} threads.\n\n"
        )
        args.out.write_text(head + table + "\n" + WHY)
    sys.exit(0 if all(r.met for r in rows) else 1)


if __name__ == "__main__":
    main()
