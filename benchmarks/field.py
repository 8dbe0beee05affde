"""Fields on one thread, forward and backward, side by side: ``python -m benchmarks.field`` prints the table."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from modeseek.generators.nerf.field import RadianceField
from modeseek.generators.nerf.hash_grid import HashGrid
from modeseek.generators.nerf.heads import MLP
from modeseek.generators.nerf.triplane import Triplane
from modeseek.randomness import Streams

COUNTS, ROUNDS = (8192, 40_000, 131_072), 5
STREAMS = Streams(0)
Call = Callable[[Tensor], Tensor]


def fields() -> dict[str, Call]:
    """What is timed: encodings, networks, and both."""
    quick, plain = Triplane(STREAMS), Triplane(STREAMS, resolution=128, features=16)
    small = HashGrid(STREAMS, levels=4, features=4, table=2**15, base=8, growth=2.0)
    middle = HashGrid(STREAMS, levels=8, features=4, table=2**15, growth=1.4)
    return {
        "triplane (16, 64) x 8, layer of 32": _density(RadianceField(quick, STREAMS, width=32, layers=1)),
        "triplane (16, 64) x 8": quick,
        "triplane 128 x 16": plain,
        "the same by grid_sample": _sampled(),
        "hash grid 4 x 4 x 2^15": small,
        "hash grid 8 x 4 x 2^15": middle,
        "hash grid 16 x 2 x 2^19": HashGrid(STREAMS),
        "network 16, 32, 4": _network((16, 32, 4)),
        "network 16, 64, 64, 4": _network((16, 64, 64, 4)),
        "network 32, 64, 64, 4": _network((32, 64, 64, 4)),
        "hash grid 8 x 4 x 2^15, layers of 64": _density(RadianceField(middle, STREAMS)),
    }


def _density(field: RadianceField) -> Call:
    def call(points: Tensor) -> Tensor:
        density, raw = field.density(points)
        return density.sum() + raw.sum()

    return call


def _sampled() -> Call:
    planes = STREAMS.normal((1, 3, 16, 128, 128))[0].requires_grad_()

    def call(points: Tensor) -> Tensor:
        at = torch.stack([points[:, axes] for axes in ((0, 1), (0, 2), (1, 2))])[:, None]
        return torch.nn.functional.grid_sample(planes, at, align_corners=True).prod(0)

    return call


def _network(sizes: tuple[int, ...]) -> Call:
    network = MLP(STREAMS, sizes)
    return lambda points: network(points.repeat(1, -(-sizes[0] // 3))[:, : sizes[0]])


def milliseconds(call: Call, points: Tensor) -> float:
    """Forward and backward."""
    began = time.perf_counter()
    call(points).sum().backward()
    return 1e3 * (time.perf_counter() - began)


def main() -> None:
    torch.set_num_threads(1)
    calls = fields()
    first = next(iter(calls))
    print("| forward and backward, one thread | " + " | ".join(f"{n} points, ms (ratio)" for n in COUNTS) + " |")
    print("|---|" + "---|" * len(COUNTS))
    columns = []
    for count in COUNTS:
        points = 2 * STREAMS.at(count).uniform((1, count, 3))[0] - 1
        for call in calls.values():
            milliseconds(call, points)
        rounds = [{name: milliseconds(call, points) for name, call in calls.items()} for _ in range(ROUNDS)]
        ratio = {name: statistics.median(r[name] / r[first] for r in rounds) for name in calls}
        columns.append({name: (min(r[name] for r in rounds), ratio[name]) for name in calls})
    for name in calls:
        print(f"| {name} | " + " | ".join(f"{c[name][0]:.0f} ({c[name][1]:.1f})" for c in columns) + " |")


if __name__ == "__main__":
    main()
