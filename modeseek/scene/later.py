"""What ``modeseek view`` and ``modeseek export`` are told. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Literal

import tyro

from modeseek.errors import UsageError


@dataclass(frozen=True)
class ViewConfig:
    """Show a scene's run in the browser: the field, its mesh, its cameras, and how it became. On this machine only."""

    run: tyro.conf.Positional[Path]
    """The run's directory; the run may still be going."""
    port: int = 8080
    """Of the page, on 127.0.0.1."""
    seconds: float | None = None
    """Close after so long; until Ctrl-C if not given."""
    device: str = "cpu"
    """Where the field is rendered."""
    threads: int = 0
    """CPU threads; 0 leaves it to torch."""

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise UsageError(f"port must be between 1 and 65535, got {self.port}")
        if self.seconds is not None and not 0 < self.seconds < inf:
            raise UsageError(f"seconds must be positive and finite, got {self.seconds}")
        if self.threads < 0:
            raise UsageError(f"threads must be at least 0, got {self.threads}")


@dataclass(frozen=True)
class ExportConfig:
    """Write a scene's surface as a mesh, or its field."""

    run: tyro.conf.Positional[Path]
    """The run's directory."""
    out: Path | None = None
    """File to write; mesh.FORMAT in the run's directory if not given."""
    format: Literal["glb", "obj", "ply", "safetensors"] = "glb"
    """Of the file; safetensors is the field itself."""
    resolution: int = 128
    """Points of the field along each side of the cube that a mesh is made from."""
    threshold: float = 10.0
    """Density of the surface, per unit of length; half the cube's side is 1."""
    floaters: float = 0.01
    """Leave out loose parts of less than this share of all the volume; 0 keeps all."""
    step: int | None = None
    """A snapshot of the run, by its step; the last one if not given."""
    device: str = "cpu"
    """Where the field is asked."""

    def __post_init__(self) -> None:
        if self.resolution < 2:
            raise UsageError(f"resolution must be at least 2, got {self.resolution}")
        if not 0 < self.threshold < inf:
            raise UsageError(f"threshold must be positive and finite, got {self.threshold}")
        if not 0 <= self.floaters < 1:
            raise UsageError(f"floaters must be a share of at least 0 and below 1, got {self.floaters}")
