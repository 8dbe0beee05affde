"""Runs in the plane that are small enough for tests, and networks that take no minute to train."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from modeseek.denoisers import MLPDenoiser
from modeseek.denoisers.mlp_training import MAIN, MLPConfig, learned
from modeseek.densities import GaussianMixture, PlanarSet
from modeseek.lab import measure, problem
from modeseek.lab.config import LabConfig

SMALL: dict[str, Any] = {"data": 200, "points": 4, "steps": 6, "field": 9, "field_draws": 2, "landscape": False}


def small(name: str = "eight_gaussians", **options: Any) -> LabConfig:
    """A small run; the same, and the set, unless said otherwise."""
    return LabConfig(name, **{**SMALL, **options})


def flags(**options: Any) -> list[str]:
    """The same as words of the command line."""
    return words(**{**SMALL, **options})


def words(**options: Any) -> list[str]:
    """Options as words of the command line; a flag that has its default has none."""
    defaults, out = {f.name: f.default for f in dataclasses.fields(LabConfig)}, []
    for name, value in options.items():
        word = name.replace("_", "-")
        if not isinstance(value, bool):
            out += [f"--{word}", str(value)]
        elif value != defaults[name]:
            out.append(f"--{word}" if value else f"--no-{word}")
    return out


def quick(density: GaussianMixture, config: MLPConfig, cache: Path) -> MLPDenoiser:
    """A network as ``learned`` gives it, hardly trained; the main one and the small one stay apart."""
    width = 8 if config == MAIN else 6
    return learned(density, dataclasses.replace(config, width=width, layers=2, iterations=3, batch=64), cache)


def make_small(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Small networks in a cache of their own, and few points to hold the end against."""
    monkeypatch.setenv("MODESEEK_CACHE", str(cache))
    monkeypatch.setattr(problem, "learned", quick)
    monkeypatch.setattr(measure, "REFERENCES", 300)


def two_gaussians(distance: float = 0.8, std: float = 0.1) -> PlanarSet:
    """Two round Gaussians side by side, the origin between them."""
    means = torch.tensor([[-distance / 2, 0.0], [distance / 2, 0.0]], dtype=torch.float64)
    return PlanarSet("two", GaussianMixture.isotropic(means, std))
