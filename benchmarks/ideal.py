"""The ideal denoiser in the plane: 1e5 queries on 1e4 points in float64, against what one would write instead."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.speed import Row
from modeseek.denoisers import IdealDenoiser

QUERIES, POINTS, SIGMA = 100_000, 10_000, 0.05
CHUNKS = (16, 100, 400, 1600)  # queries a block: weights of 1, 8, 32 and 128 MB; the first stay in the cache
MODES = ("use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist")
SHARE = 10  # the slow side answers a tenth of the queries; it is linear in them
ROUNDS = 5


def data(queries: int = QUERIES) -> tuple[Tensor, Tensor]:
    """Queries and points, float64."""
    rng = torch.Generator().manual_seed(0)
    points = 0.5 * torch.randn(POINTS, 2, generator=rng, dtype=torch.float64)
    return torch.rand(queries, 2, generator=rng, dtype=torch.float64) * 3 - 1.5, points


def chunked(z: Tensor, points: Tensor, chunk: int, mode: str) -> Tensor:
    """Distances and softmax, a block of queries at a time, as one writes it."""
    blocks = (torch.cdist(part, points, compute_mode=mode) for part in z.split(chunk))
    return torch.cat([torch.softmax(-(d**2) / (2 * SIGMA**2), 1) @ points for d in blocks])


def in_place(z: Tensor, points: Tensor, chunk: int, mode: str) -> Tensor:
    """The same without a new block for the square and its scale."""
    blocks = (torch.cdist(part, points, compute_mode=mode) for part in z.split(chunk))
    return torch.cat([(d.square_().mul_(-0.5 / SIGMA**2)).softmax(1) @ points for d in blocks])


def bare(z: Tensor, points: Tensor) -> Tensor:
    """Fused attention on tensors of the same shape, its inputs ready."""
    q, k, v = (torch.zeros(1, 1, len(t), 4, dtype=t.dtype) for t in (z, points, points))
    q[..., :2], q[..., 2], k[..., :2], v[..., :2] = z / SIGMA, 1.0, points / SIGMA, points
    k[..., 2] = -0.5 * points.square().sum(1) / SIGMA**2
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.FLASH_ATTENTION):
        began = time.perf_counter()
        torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=1.0)
        return torch.tensor(time.perf_counter() - began)


def seconds(call: Callable[[], object]) -> float:
    """Wall time of one call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def against_chunks() -> Row:
    """As one writes it."""
    return _against(chunked, "chunked cdist + softmax")


def against_chunks_in_place() -> Row:
    """Written with care for the cache."""
    return _against(in_place, "chunked cdist + softmax, in place")


def _against(other: Callable[..., Tensor], words: str) -> Row:
    """Side by side, interleaved; the best chunk size and way of cdist, found first."""
    z, points = data()
    few, denoiser = z[::SHARE], IdealDenoiser(points)
    ways = [(chunk, mode) for chunk in CHUNKS for mode in MODES]
    best = min(ways, key=lambda way: seconds(lambda: other(few, points, *way)))
    ratios = [
        SHARE * seconds(lambda: other(few, points, *best)) / seconds(lambda: denoiser(z, SIGMA)) for _ in range(ROUNDS)
    ]
    ratio = statistics.median(ratios)
    what = f"best {words} ({best[0]} rows) / ideal denoiser, 1e5 queries on 1e4 points, float64"
    return Row(what, f"{ratio:.1f}", "at least 5", ratio >= 5)


def against_bare() -> Row:
    """Side by side, interleaved."""
    z, points = data()
    denoiser = IdealDenoiser(points)
    pairs = [(seconds(lambda: denoiser(z, SIGMA)), float(bare(z, points))) for _ in range(ROUNDS)]
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    took = statistics.median(ours for ours, _ in pairs)
    what = f"ideal denoiser with its log density / bare fused attention ({took:.1f} s)"
    return Row(what, f"{ratio:.2f}", "at most 1.2", ratio <= 1.2)


_MEMORY = """
import resource
from benchmarks.ideal import SIGMA, data
from modeseek.denoisers import IdealDenoiser
z, points = data()
denoiser = IdealDenoiser(points)
denoiser(z[:100], SIGMA)  # what torch allocates once
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
denoiser(z, SIGMA)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def memory() -> Row:
    """Growth of the peak resident size over that before the call, in a fresh process."""
    done = subprocess.run([sys.executable, "-c", _MEMORY], check=True, capture_output=True, text=True)
    megabytes = int(done.stdout) * (1 if sys.platform == "darwin" else 1024) / 1e6
    return Row("peak extra memory of that call", f"{megabytes:.0f} MB", "below 200 MB", megabytes < 200)


MEASURES = (against_chunks, against_chunks_in_place, against_bare, memory)
