"""What tests of runs on disk share: two runs compared byte by byte, and runs that are killed and taken up again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def metrics(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def untimed(path: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in metrics(path)]


def assert_same_run(a: Path, b: Path) -> None:
    """Two finished runs: the same files, the same bytes but for times and the run's own name."""
    files = sorted(str(p.relative_to(a)) for p in a.rglob("*") if p.is_file())
    assert files == sorted(str(p.relative_to(b)) for p in b.rglob("*") if p.is_file())
    for file in files:
        if file not in ("metrics.jsonl", "config.yaml"):
            assert (a / file).read_bytes() == (b / file).read_bytes(), file
    assert untimed(a) == untimed(b)


def python(*arguments: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def lines(path: Path) -> int:
    return (path / "metrics.jsonl").read_bytes().count(b"\n") if (path / "metrics.jsonl").exists() else 0


# imports once, then starts the command line in one child after the other and kills each when the log has so many lines
KILLER = """
import os, signal, sys, time
from pathlib import Path
from diffusers import AutoencoderKL, DDIMScheduler, DiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer
import modeseek.text2image
from modeseek.cli import main

path, moments, first = Path(sys.argv[1]), eval(sys.argv[2]), sys.argv[3:]
for k, (lines, writing) in enumerate(moments):
    child = os.fork()
    if child == 0:
        main(first if k == 0 else ["resume", str(path)])
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        assert not ended, (k, status)
        log = path / "metrics.jsonl"
        done = log.read_bytes().count(b"\\n") if log.exists() else 0
        if done >= lines + 6 or (done >= lines and (not writing or any(path.glob(".*.part")))):
            break
        time.sleep(0.0005)
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
"""


def killed_again_and_again(path: Path, moments: Sequence[tuple[int, bool]], command: Sequence[str]) -> None:
    """Start a command, and resume it after each of the moments but the last: lines of the log, while writing or not."""
    process = python("-c", KILLER, path, list(moments), *command)
    out, err = process.communicate(timeout=250)
    assert process.returncode == 0, (out, err)
