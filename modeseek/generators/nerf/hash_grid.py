"""The multiresolution hash encoding of Mueller et al. 2022 (Instant NGP), on any device, without an extension."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from modeseek.errors import UsageError
from modeseek.generators.nerf.encoding import Encoding, one_stream
from modeseek.generators.nerf.interpolation import cells, interpolate
from modeseek.randomness import Streams

PRIMES = (1, 2654435761, 805459861)  # Mueller et al. 2022, eq. 4


class HashGrid(Encoding):
    """Features of points, trilinear in grids of rising resolution whose vertices share the rows of a table.

    Equation HASH-1: level l has floor(base * growth^l) cells a side; a vertex (i, j, k) has a row of its own where
    the level has no more vertices than the table rows, else row ``i ^ j * 2654435761 ^ k * 805459861`` modulo them.

    Args:
        streams: one, for the initial features, uniform within 1e-4.
        levels: number of grids.
        features: numbers a vertex holds, in each level.
        table: rows of a level, a power of two.
        base: cells a side of the coarsest level, over the cube [-1, 1]^3.
        growth: ratio of the resolutions of neighbouring levels; 1.447 makes 16 levels end at 4096, as in threestudio.

    Attributes:
        resolutions: cells a side of each level.
        width: levels * features, the length of the encoding.

    Raises:
        UsageError: if an argument is out of its range or there is not one stream.
    """

    origin: Tensor
    scale: Tensor

    def __init__(
        self,
        streams: Streams,
        *,
        levels: int = 16,
        features: int = 2,
        table: int = 2**19,
        base: int = 16,
        growth: float = 1.447269237440378,
    ) -> None:
        super().__init__()
        self.resolutions = _resolutions(levels, base, growth)
        _check(features, table, levels)
        self.width, self.features, self.rows = levels * features, features, table
        self.dense = sum((r + 1) ** 3 <= table for r in self.resolutions)  # these come first, as resolutions rise
        first, total = _offsets(self.resolutions, self.dense, table)
        self.register_buffer("origin", torch.tensor(first)[:, None], persistent=False)
        self.register_buffer("scale", torch.tensor(self.resolutions)[:, None], persistent=False)
        self.table = nn.Parameter(1e-4 * (2 * one_stream(streams).uniform((1, total, features))[0] - 1))

    def forward(self, points: Tensor) -> Tensor:
        """Encoding (N, width) of points (N, 3) in [-1, 1]^3, coarsest first; those outside are moved to its face."""
        unit = (points.clamp(-1, 1) + 1) / 2
        placed = [cells(axis * self.scale, self.scale - 1) for axis in unit.t()]  # (levels, N): long rows are fast
        index = self._rows([cell for cell, _ in placed])
        (u, v, w) = ((1 - fraction, fraction) for _, fraction in placed)
        uv = [a * b for a in u for b in v]
        weight = torch.stack([ab * c for ab in uv for c in w], -1).flatten(0, 1)
        encoded = interpolate(self.table, index, weight.to(self.table.dtype))
        return encoded.view(len(self.resolutions), len(points), self.features).transpose(0, 1).flatten(1)

    def _rows(self, cell: list[Tensor]) -> Tensor:
        """Rows (levels * N, 8) of the corners of the cells (levels, N), int32."""
        dense, hashed = slice(0, self.dense), slice(self.dense, None)
        side = self.scale[dense] + 1
        strides = (torch.ones_like(side), side, side * side)
        out = cell[0].new_empty(*cell[0].shape, 8, dtype=torch.int32)
        added = [_both(c[dense], s, None) for c, s in zip(cell, strides)]
        mixed = [_both(c[hashed], p, self.rows - 1) for c, p in zip(cell, PRIMES)]
        # int64 up to here, where the products overflow 32 bits; masked they fit, and so does what is made of them
        added[0] = [a + self.origin[dense].int() for a in added[0]]
        mixed[0] = [m + self.origin[hashed].int() for m in mixed[0]]  # a multiple of the table: bits xor leaves alone
        for corner in range(8):
            i, j, k = corner >> 2, corner >> 1 & 1, corner & 1
            torch.add(added[0][i] + added[1][j], added[2][k], out=out[dense, :, corner])
            torch.bitwise_xor(mixed[0][i] ^ mixed[1][j], mixed[2][k], out=out[hashed, :, corner])
        return out.flatten(0, 1)


def _both(cell: Tensor, factor: Tensor | int, mask: int | None) -> list[Tensor]:
    """An axis's part of the row, int32, for the lower and for the upper vertex."""
    products = cell * factor, (cell + 1) * factor
    return [(p if mask is None else p & mask).int() for p in products]


def _resolutions(levels: int, base: int, growth: float) -> list[int]:
    if levels < 1 or base < 1:
        raise UsageError(f"levels and base must be positive, got {levels} and {base}")
    if not 1 <= growth < math.inf:
        raise UsageError(f"growth must be a number of at least 1, got {growth}")
    if levels * math.log2(growth) + math.log2(base) > 20:
        raise UsageError(f"the finest level must have at most 2^20 cells a side, got base {base}, growth {growth}")
    return [math.floor(base * growth**level) for level in range(levels)]


def _check(features: int, table: int, levels: int) -> None:
    if features < 1:
        raise UsageError(f"features must be positive, got {features}")
    if table < 8 or table & (table - 1):
        raise UsageError(f"table must be a power of two and at least 8, got {table}")
    if levels * table >= 2**31:
        raise UsageError(f"levels times table must be below 2^31, got {levels} times {table}")


def _offsets(resolutions: list[int], dense: int, table: int) -> tuple[list[int], int]:
    """First row of each level, and their number; the hashed levels stand first, so that each is a multiple of table."""
    first = [table * k for k in range(len(resolutions) - dense)]
    at, own = table * len(first), []
    for resolution in resolutions[:dense]:
        own.append(at)
        at += (resolution + 1) ** 3
    return own + first, at
