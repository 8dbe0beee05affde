"""What rendering a field costs beyond the field itself, and in memory: ``python -m benchmarks.render`` prints tables.

``python -m benchmarks.render CHUNK TRAINING`` measures the memory of one picture in a fresh process (Linux alone tells
it): chunk in points, training 0 or 1; the peak in MiB beyond what was held before, and seconds.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor

from benchmarks.memory import ENVIRONMENT, resident
from benchmarks.speed import Row
from modeseek.cameras import turntable
from modeseek.compare.memory import CLEAR, Peak
from modeseek.generators.nerf import Field, HashGrid, OccupancyGrid, RadianceField, Renderer, Triplane
from modeseek.randomness import Streams

ROUNDS = 5
RADIUS = (0.8 * 3 / (4 * torch.pi)) ** (1 / 3)  # a tenth of the cube
CHUNKS = (1 << 14, 1 << 16, 1 << 18, 1 << 20)
TRAINED = CHUNKS[2:]  # smaller ones take minutes: each clears a gradient of the whole field


class Ball(Field):
    """A ball that fills a tenth of the cube, at the cost of the network that it asks beside."""

    def __init__(self, network: Field) -> None:
        super().__init__()
        self.network = network

    def density(self, points: Tensor) -> tuple[Tensor, Tensor]:
        density, features = self.network.density(points)
        return 40 * torch.sigmoid(60 * (RADIUS - points.norm(dim=-1))) + 0 * density, features

    def colour(self, features: Tensor) -> Tensor:
        return self.network.colour(features)

    def background(self, directions: Tensor) -> Tensor:
        return self.network.background(directions)


def network(encoding: str) -> RadianceField:
    """The hash grid and the triplane that docs/scene.md suggests for CPUs, in front of 2 layers of 64."""
    streams = Streams(0)
    grid = HashGrid(streams, levels=8, features=4, table=2**15) if encoding == "hash grid" else Triplane(streams)
    return RadianceField(grid, streams)


def seconds(*calls: Callable[[], None]) -> list[float]:
    """Medians of calls that take turns, each once to warm up."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    taken: list[list[float]] = [[] for _ in calls]
    for _ in range(ROUNDS + 1):
        for call, times in zip(calls, taken):
            began = time.perf_counter()
            call()
            times.append(time.perf_counter() - began)
    torch.set_num_threads(threads)
    return [statistics.median(times[1:]) for times in taken]


def step(renderer: Renderer, rng: Streams | None) -> None:
    """One 64 x 64 view and its backward pass."""
    out = renderer(turntable(1), 64, 64, rng)
    torch.autograd.backward(out.image, torch.ones_like(out.image))


def bare(field: Field, points: Tensor) -> None:
    """The field alone and its backward pass, in two calls as the renderer's: one is slower, by its caches."""
    parts = []
    for some in points.chunk(2):
        density, features = field.density(some)
        parts.append(density.sum() + field.colour(features).sum())
    torch.autograd.backward(torch.stack(parts).sum())


def overhead(encoding: str) -> Row:
    """A step of the renderer over the bare field at the same points."""
    field, rng = network(encoding), Streams(0)
    renderer = Renderer(field, samples=32)
    kept = renderer(turntable(1), 64, 64, rng, keep_samples=True).samples
    assert kept is not None
    whole, alone = seconds(partial(step, renderer, rng), partial(bare, field, kept.points))
    measured = f"{whole / alone:.2f} ({1e3 * whole:.0f} / {1e3 * alone:.0f} ms, {len(kept.points)} points)"
    what = f"render 64 x 64, 32 samples a ray, forward and backward / bare calls of the field, {encoding}"
    return Row(what, measured, "at most 1.5", whole / alone <= 1.5)


def skipping(encoding: str) -> Row:
    """A step without the occupancy grid over one with it."""
    field, rng = Ball(network(encoding)), Streams(0)
    grid = OccupancyGrid()
    grid.measure(field, rng)
    plain, culled = (Renderer(field, samples=32, occupancy=g) for g in (None, grid))
    slow, fast = seconds(partial(step, plain, rng), partial(step, culled, rng))
    what = f"the same step without empty-space skipping / with, a ball in a tenth of the cube, {encoding}"
    return Row(what, f"{slow / fast:.1f} ({1e3 * slow:.0f} / {1e3 * fast:.0f} ms)", "at least 2", slow / fast >= 2)


def updating(encoding: str) -> Row:
    """Keeping the occupancy grid, a sixteenth of an update, over a step with it."""
    field, rng = Ball(network(encoding)), Streams(0)
    grid = OccupancyGrid(warmup=0)
    grid.measure(field, rng)
    renderer = Renderer(field, samples=32, occupancy=grid)
    update, whole = seconds(partial(grid.update, field, rng, 0), partial(step, renderer, rng))
    share = update / grid.every / whole
    return Row(f"an update of the occupancy grid / 16 steps with it, {encoding}", f"{share:.2f}", "-", True)


def measure(chunk: int, training: bool) -> tuple[float, float]:
    """MiB at the peak of one 512 x 512 picture beyond what was held before it, and its seconds."""
    renderer = Renderer(network("triplane"), samples=32, chunk=chunk, recompute=training)
    with torch.set_grad_enabled(training):
        step(renderer, Streams(0)) if training else renderer(turntable(1), 64, 64)
        before, peak, began = resident(), Peak(torch.device("cpu")), time.perf_counter()
        out = renderer(turntable(1), 512, 512, Streams(0) if training else None)
        if training:
            torch.autograd.backward(out.image, torch.ones_like(out.image))
    return peak.mib() - before, time.perf_counter() - began


@cache
def peak(chunk: int, training: int) -> tuple[float, float]:
    """Measured in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.render", str(chunk), str(training)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | ENVIRONMENT)
    mib, taken = done.stdout.split()[::2]
    return float(mib), float(taken)


def memory_table() -> str:
    """Markdown: peak and seconds for each chunk."""
    lines = ["| chunk, points | picture | its gradient as well, `recompute` |", "|---|---|---|"]
    for chunk in CHUNKS:
        runs = [peak(chunk, 0), *([peak(chunk, 1)] if chunk in TRAINED else [])]
        cells = [f"{mib:.0f} MiB, {taken:.0f} s" for mib, taken in runs] + ["-"]
        lines.append(f"| {chunk} | {cells[0]} | {cells[1]} |")
    return "Peak memory at 512 x 512, 32 samples a ray, triplane, nothing skipped:\n\n" + "\n".join(lines)


MEASURES: tuple[Callable[[], Row], ...] = tuple(
    partial(measured, encoding) for encoding in ("hash grid", "triplane") for measured in (overhead, skipping, updating)
)


def main() -> None:
    torch.set_num_threads(1)
    if len(sys.argv) == 3:
        mib, taken = measure(int(sys.argv[1]), sys.argv[2] == "1")
        print(f"{mib:.0f} MiB {taken:.1f} s")
        return
    print("| what | measured | expected | met |\n|---|---|---|---|")
    for row in (measured() for measured in MEASURES):
        print(f"| {row.what} | {row.measured} | {row.expected} | {'yes' if row.met else '**no**'} |", flush=True)
    if CLEAR.exists():
        print("\n" + memory_table())


if __name__ == "__main__":
    main()
