"""The numbers of a comparison: distances to DDIM samples, similarity to the prompts, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from modeseek.compare.cells import Cell, Painted
from modeseek.compare.config import Contender
from modeseek.compare.run import SAMPLES, Comparison
from modeseek.errors import UsageError
from modeseek.metrics.bootstrap import Bootstrap
from modeseek.metrics.distance import distance
from modeseek.metrics.extractor import Extractor
from modeseek.metrics.features import Features
from modeseek.metrics.results import Result
from modeseek.metrics.similarity import similarity

FEW = 4  # precision and recall by third neighbours, and an interval over pairs, need so many pictures


@dataclass(frozen=True)
class Point:
    """Where a method stands on its way.

    Attributes:
        steps: done.
        nfe: evaluations for one picture.
        seconds: of one picture's share of its batch.
        frechet: distance to the reference.
    """

    steps: int
    nfe: int
    seconds: float
    frechet: float


@dataclass(frozen=True)
class Row:
    """A method.

    Attributes:
        name: as it is written.
        pictures: that are there.
        nfe: evaluations for one picture.
        seconds: of one picture's share of its batch.
        peak_mib: largest memory while it was made; 0 if not known.
        results: by name of the metric.
        curve: on the way, the last point is the final picture.
        per_seed: Fréchet distance of each seed's pictures alone, biased upwards as small sets are.
    """

    name: str
    pictures: int
    nfe: int
    seconds: float
    peak_mib: float
    results: dict[str, Result]
    curve: tuple[Point, ...]
    per_seed: tuple[float, ...] = ()


@dataclass
class Gauge:
    """What pictures are measured with.

    Attributes:
        comparison: where they are, and the models that measure.
        reference: features of the DDIM samples.
    """

    comparison: Comparison
    reference: Features
    _rows: dict[Contender, Row | None] = field(default_factory=dict)

    @classmethod
    def of(cls, comparison: Comparison) -> Gauge:
        """Measure the reference.

        Raises:
            UsageError: if there are no reference samples.
        """
        held = found(comparison, SAMPLES[0])
        if len(held) < 2:
            raise UsageError(f"a comparison needs two reference samples or more, got {len(held)}")
        return cls(comparison, comparison.extractor.features(finals(held)))

    @property
    def extractor(self) -> Extractor:
        """Of the features of distances."""
        return self.comparison.extractor

    @property
    def dimensions(self) -> int | None:
        """Of the projected features; None keeps all."""
        wanted = self.comparison.config.dimensions
        return min(wanted, self.extractor.dimension) if wanted else None

    def row(self, contender: Contender) -> Row | None:
        """One method's numbers, measured once; None if fewer than two of its pictures are there."""
        if contender not in self._rows:
            self._rows[contender] = self._measured(contender)
        return self._rows[contender]

    def rows(self) -> list[Row]:
        """DDIM's with other seeds and every method's that has pictures."""
        return [row for row in map(self.row, self.comparison.contenders[1:]) if row is not None]

    def _measured(self, contender: Contender) -> Row | None:
        held = found(self.comparison, contender)
        if len(held) < 2:
            return None
        features = self.extractor.features(finals(held))
        pictures = [painted for _, painted in held]
        return Row(
            str(contender),
            len(held),
            int(pictures[0].nfe[-1]),
            sum(float(p.seconds[-1]) for p in pictures) / len(held),
            max(p.peak_mib for p in pictures),
            self.results(features, held),
            self.curve(pictures),
            self.per_seed(features, [cell for cell, _ in held]),
        )

    def results(self, features: Features, held: Sequence[tuple[Cell, Painted]]) -> dict[str, Result]:
        """Every metric that these features allow."""
        clip, draws = self.extractor.name.startswith("clip:"), Bootstrap() if len(held) >= FEW else None
        out = {
            "frechet": distance("frechet", features, self.reference, self.dimensions, draws),
            "kernel": distance("kernel", features, self.reference, self.dimensions, draws),
        }
        if clip:
            out["cmmd"] = distance("cmmd", features, self.reference)
        if len(held) >= FEW:
            out |= {name: distance(name, features, self.reference, self.dimensions) for name in ("precision", "recall")}
        out["similarity"] = similarity(self.comparison.clip, finals(held), [cell.prompt for cell, _ in held])
        return out

    def curve(self, pictures: Sequence[Painted]) -> tuple[Point, ...]:
        """Fréchet distance at the snapshots after the start."""
        points = []
        for k in range(1 if len(pictures[0].steps) > 1 else 0, len(pictures[0].steps)):
            images = torch.stack([p.images[k] for p in pictures]).float() / 255
            value = distance("frechet", self.extractor.features(images), self.reference, self.dimensions).value
            seconds = sum(float(p.seconds[k]) for p in pictures) / len(pictures)
            points.append(Point(int(pictures[0].steps[k]), int(pictures[0].nfe[k]), seconds, value))
        return tuple(points)

    def per_seed(self, features: Features, cells: Sequence[Cell]) -> tuple[float, ...]:
        """Of each seed's pictures alone."""
        seeds = torch.tensor([cell.config.seed for cell in cells])
        groups = [torch.nonzero(seeds == seed)[:, 0] for seed in dict.fromkeys(seeds.tolist())]
        return tuple(
            distance("frechet", _rows(features, rows), self.reference, self.dimensions).value
            for rows in groups
            if len(rows) > 1
        )


def found(comparison: Comparison, contender: Contender) -> list[tuple[Cell, Painted]]:
    """The pictures of a method that are there."""
    pairs = [(cell, cell.read(comparison.config.out)) for cell in comparison.cells(contender)]
    return [(cell, painted) for cell, painted in pairs if painted is not None]


def finals(held: Sequence[tuple[Cell, Painted]]) -> Tensor:
    """Final pictures (N, 3, H, W) in [0, 1]."""
    return torch.stack([painted.final for _, painted in held])


def _rows(features: Features, rows: Tensor) -> Features:
    return Features(features.values[rows], features.extractor, features.filter, features.sha256)
