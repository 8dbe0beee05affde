"""Randomness as an argument: one CPU generator per sample, so that image 17 is the same in any batch, on any device."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modeseek.errors import UsageError


class Streams:
    """One stream of random numbers per sample, seeded from (seed, sample id, step).

    Numbers are drawn on the CPU in float32 and then moved and cast, so that precision and device do not change them.

    Args:
        seed: of the whole run, or one for each sample: rows of several runs in one batch.
        samples: one id per row of a batch: an int, or a tuple of ints for a sample of a sample.
        step: of the run; another step gives independent numbers.

    Raises:
        UsageError: if there are neither one seed nor as many as samples.
    """

    def __init__(
        self, seed: int | Sequence[int], samples: Sequence[int | tuple[int, ...]] = (0,), step: int = 0
    ) -> None:
        self.samples = tuple(s if isinstance(s, tuple) else (s,) for s in samples)
        self.seeds = (seed,) * len(self.samples) if isinstance(seed, int) else tuple(seed)
        if len(self.seeds) != len(self.samples):
            raise UsageError(f"there must be one seed or one for each sample, got {len(self.seeds)} for {len(self)}")
        self.step = step

    @classmethod
    def for_batch(cls, seed: int, batch: int) -> Streams:
        """Samples 0 ... batch - 1 at step 0."""
        return cls(seed, range(batch))

    def at(self, step: int) -> Streams:
        """The same samples at another step, from the start of their streams."""
        return Streams(self.seeds, self.samples, step)

    def repeat(self, n: int) -> Streams:
        """n independent streams for each sample, neighbours in the batch, as ``repeat_interleave`` lays them."""
        seeds = [seed for seed in self.seeds for _ in range(n)]
        return Streams(seeds, [(*s, k) for s in self.samples for k in range(n)], self.step)

    def branch(self, name: int) -> Streams:
        """The same samples with numbers of their own, by a negative name: those of ``repeat`` are not."""
        if name >= 0:
            raise UsageError(f"the name of a branch must be negative, got {name}")
        return Streams(self.seeds, [(*s, name) for s in self.samples], self.step)

    def first(self) -> Streams:
        """The first sample's stream alone."""
        return Streams(self.seeds[:1], self.samples[:1], self.step)

    def __len__(self) -> int:
        return len(self.samples)

    @cached_property
    def _generators(self) -> list[np.random.Generator]:
        """Made when something is drawn: a step without noise should not pay for a generator a sample."""
        keys = [_key(seed, self.step, *s) for seed, s in zip(self.seeds, self.samples)]
        return [np.random.Generator(np.random.Philox(key=key)) for key in keys]

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Standard normal numbers, float32 on the CPU; ``shape[0]`` must be the number of samples."""
        return self._rows(shape, np.random.Generator.standard_normal)

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """Uniform numbers in [0, 1), float32 on the CPU; ``shape[0]`` must be the number of samples."""
        return self._rows(shape, np.random.Generator.random)

    def _rows(self, shape: Sequence[int], draw: Callable[..., Any]) -> Tensor:
        if shape[0] != len(self.samples):
            raise ValueError(f"the batch must have one row per stream ({len(self.samples)}), got {shape[0]} rows")
        return torch.from_numpy(np.stack([draw(g, tuple(shape[1:]), np.float32) for g in self._generators]))


Rng = Streams | torch.Generator


def normal(rng: Rng, like: Tensor) -> Tensor:
    """Standard normal numbers of the shape, dtype and device of ``like``."""
    drawn = rng.normal(like.shape) if isinstance(rng, Streams) else torch.randn(like.shape, generator=rng)
    return drawn.to(like.device, like.dtype)


def uniform(rng: Rng, batch: int) -> Tensor:
    """Uniform numbers in [0, 1), shape (batch,), float32 on the CPU."""
    return rng.uniform((batch,)) if isinstance(rng, Streams) else torch.rand(batch, generator=rng)


def repeat(rng: Rng, n: int) -> Rng:
    """Streams for n samples of every sample; a bare generator serves any batch as it is."""
    return rng.repeat(n) if isinstance(rng, Streams) else rng


def _key(*numbers: int) -> int:
    """128 bits: torch's CPU generator would take 32, and two of 77 000 streams would be the same."""
    return int.from_bytes(hashlib.blake2b(",".join(map(str, numbers)).encode(), digest_size=16).digest(), "little")
