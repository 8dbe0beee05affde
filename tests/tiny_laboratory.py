"""The reproductions at the size of a test: few points, steps and data, and networks that train for a moment.

Patches modules, by pytest's ``monkeypatch.setattr`` or, in a process of its own, by the builtin.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from modeseek.denoisers.mlp_training import MLPConfig
from modeseek.denoisers.mlp_training import learned as train_or_load
from modeseek.densities import GaussianMixture, PlanarSet
from modeseek.experiments import coverage, figure1, figure3, table1, table2
from modeseek.lab import measure, problem
from modeseek.lab.config import LabConfig

SET = "eight_gaussians"
MOST = {"data": 200, "points": 3, "steps": 3, "field": 9, "field_draws": 2}
NETWORK = MLPConfig(width=8, layers=2, iterations=20, batch=64)


def config(*names: str, **options: Any) -> LabConfig:
    """A configuration whose sizes are at most those above."""
    return LabConfig(*names, **options | {k: min(options.get(k, most), most) for k, most in MOST.items()})


def shrink(patch: Callable[[Any, str, Any], None], cache: Path) -> None:
    """Make every reproduction small. Sizes are cut where configurations are made, rows are left as they are."""
    for module in (coverage, figure1, figure3, table1, table2):
        patch(module, "LabConfig", config)
    patch(problem, "learned", lambda density, _, folder: train_or_load(density, NETWORK, folder))
    patch(problem, "cache", lambda: cache)
    patch(measure, "REFERENCES", 50)
    patch(table1, "DRAWS", 4)
    patch(coverage, "STARTS", (0.05, 0.1))
    patch(coverage, "ENDS", (0.01, 0.02))
    patch(coverage, "SAMPLERS", ("exact", "exponential"))
    patch(figure3, "DRAWS", 4)
    patch(figure3, "BANDWIDTHS", (0.1, 0.5))


def shorten(patch: Callable[[Any, str, Any], None]) -> None:
    """Keep three rows of each table and two panels of each figure, one denoiser, one sampler."""
    names = ("SDS, sigma uniform in [0, 5]", "MSD, `posterior_mean`", "MSD, `summed`")
    for module in (table1, table2):
        patch(module, "METHODS", tuple(m for m in module.METHODS if m.name in names))
        patch(module, "DENOISERS", ("ideal",))
    patch(coverage, "SAMPLERS", ("exact",))
    patch(figure1, "DENOISERS", ("ideal",))
    patch(figure1, "PANELS", figure1.PANELS[::2])
    patch(figure3, "PANELS", figure3.PANELS[::5])
    patch(figure3, "ESTIMATORS", figure3.ESTIMATORS[:2])


def gaussians(means: list[list[float]], std: float) -> PlanarSet:
    """Round Gaussians of equal weight: the sets with a closed form."""
    at = torch.tensor(means, dtype=torch.float64)
    return PlanarSet("gaussians", GaussianMixture(at, std**2 * torch.eye(2, dtype=torch.float64).repeat(len(at), 1, 1)))


def cells(markdown: str) -> list[list[str]]:
    """Head and rows of a Markdown table, which must have as many cells each."""
    lines = [re.split(r"(?<!\\)\|", line) for line in markdown.splitlines() if line]
    assert all(line[0] == line[-1] == "" for line in lines)
    assert {len(line) for line in lines} == {len(lines[0])}
    assert set(lines[1][1:-1]) == {"---"}
    return [[cell.strip() for cell in line[1:-1]] for line in lines[:1] + lines[2:]]


def strict(path: Path) -> Any:
    """A JSON file without NaN and Infinity, which are not JSON."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(path.read_text(), parse_constant=refuse)
