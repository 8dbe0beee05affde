"""Results of an experiment on disk, one file a cell, so that a killed reproduction continues where it was."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from torch import Tensor

from modeseek.errors import RunError
from modeseek.reports import plain
from modeseek.runs import write_atomic, writing

Numbers = dict[str, float]
FORMAT = 1  # of what a cell's numbers mean; another number measures all cells anew


@dataclass(frozen=True)
class Book:
    """A folder of cells.

    Attributes:
        path: the folder; made if it is not there.
        say: told about each cell that is measured.
    """

    path: Path
    say: Callable[[str], None] = print

    def __post_init__(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"results must go to a folder; {self.path} is a file")
        with writing(self.path):
            (self.path / "cells").mkdir(parents=True, exist_ok=True)

    def cell(self, what: str, key: Any, make: Callable[[], Numbers]) -> Numbers:
        """The numbers of a cell: read if they are there, measured and kept if not.

        The file tells the seconds that it took as well; they are not returned, so that reports depend on no clock.

        Args:
            what: in words, for people.
            key: a dataclass, or anything whose ``repr`` tells this cell from all others.
            make: measures them; not called where the file exists.
        """
        text = repr((FORMAT, what, key))
        path = self.path / "cells" / f"{_name(what, key)}.json"
        stored = _read(path, text)
        if stored is not None:
            return stored
        began = time.perf_counter()
        numbers = {k: float(v) for k, v in make().items()}
        seconds = {"seconds": round(time.perf_counter() - began, 2)}
        write_atomic(path, json.dumps({"what": what, "key": text, "numbers": plain(numbers | seconds)}, indent=1))
        self.say(f"{what}: {seconds['seconds']:.0f} s")
        return numbers

    def tensor(self, what: str, key: Any, make: Callable[[], Tensor]) -> Tensor:
        """As ``cell``, of one tensor."""
        from safetensors import SafetensorError
        from safetensors.torch import load, save

        path = self.path / "cells" / f"{_name(what, key)}.safetensors"
        try:
            return load(path.read_bytes())["tensor"]
        except (OSError, KeyError, SafetensorError):
            began = time.perf_counter()
            made = make().detach().contiguous()
        write_atomic(path, save({"tensor": made}))
        self.say(f"{what}: {time.perf_counter() - began:.0f} s")
        return made

    def report(self, name: str, markdown: str, rows: Sequence[Any]) -> Path:
        """Write a table as Markdown and JSON; the path of the first."""
        results = [plain(dataclasses.asdict(row)) for row in rows]
        write_atomic(self.path / f"{name}.json", json.dumps(results, indent=1, default=str))
        write_atomic(self.path / f"{name}.md", markdown)
        return self.path / f"{name}.md"


def _name(what: str, key: Any) -> str:
    return hashlib.sha256(repr((FORMAT, what, key)).encode()).hexdigest()[:16]


def _read(path: Path, text: str) -> Numbers | None:
    """A cell's numbers; None if there are none or the file is not this cell's."""
    try:
        found = json.loads(path.read_text())
        numbers = {k: float(v) for k, v in found["numbers"].items() if k != "seconds"}
        return numbers if found["key"] == text else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


@dataclass(frozen=True)
class Spread:
    """A number over seeds.

    Attributes:
        mean: over the seeds.
        spread: their standard deviation; None for one seed.
    """

    mean: float
    spread: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of one value a seed; one that is not finite makes the mean so, and leaves no spread."""
        finite = all(map(math.isfinite, values))
        return cls(mean(values), stdev(values) if finite and len(values) > 1 else None)

    def __str__(self) -> str:
        digits = 2 if abs(self.mean) < 100 else 0
        shown = f"{self.mean:.{digits}f}"
        return shown if self.spread is None else f"{shown} ± {self.spread:.{digits}f}"


def over_seeds(cells: Sequence[Numbers]) -> dict[str, Spread]:
    """Each number of the cells of one row over their seeds."""
    return {name: Spread.of([cell[name] for cell in cells]) for name in cells[0]}
