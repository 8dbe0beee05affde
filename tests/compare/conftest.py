"""Comparisons on the tiny pipeline: two prompts, a step or three."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from modeseek.compare.config import CompareConfig
from modeseek.compare.run import Comparison


@pytest.fixture
def compare(tiny: Path, tmp_path: Path) -> Callable[..., Comparison]:
    """Open a comparison of ``methods``; what it says is in ``said``."""
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("red cat\na tree\n")

    def build(methods: str = "sds,msd", **options: object) -> Comparison:
        small = {"steps": 3, "seeds": "0-1", "ddim_steps": 2, "snapshots": 3, "out": tmp_path / "out"}
        config = CompareConfig(prompts, methods, **(small | {"prior": str(tiny)} | options))
        said: list[str] = []
        comparison = Comparison.open(config, say=said.append)
        comparison.said = said
        return comparison

    return build
