"""What a scene costs: the whole of a default run, and its loop beyond rendering and network calls."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from benchmarks.loops import Call, calls
from benchmarks.speed import Row
from modeseek.distillation import Progress
from modeseek.scene.config import SceneConfig
from modeseek.scene.outputs import walk
from modeseek.scene.run import STRIP, TextToScene

ROUNDS = 5
STEPS = 24


def whole_run() -> Row:
    """``modeseek scene "hamburger"`` from the shell, start-up, turntable and mesh included."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "modeseek", "scene", "hamburger", "--out", str(Path(folder) / "run")]
        began = time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds = time.perf_counter() - began
    found = re.search(r"peak memory (\d+) MiB", done.stdout)
    memory = f", peak memory {found[1]} MiB" if found else ""
    return Row('`modeseek scene "hamburger"`', f"{seconds:.0f} s{memory}", "at most 360 s", seconds <= 360)


def bare(job: TextToScene, recorded: list[list[Call]]) -> None:
    """The same rendering, encoder, network and optimiser calls with nothing around them."""
    walk(job.config, job.nerf, STRIP)
    for step, asked in enumerate(recorded):
        job.job.optimiser.zero_grad(set_to_none=True)
        view = job.nerf(job.job.rng.at(step))
        x = job.prior.encode(view.image)
        with torch.no_grad():
            for call in asked:
                call.network(*call.inputs)
        outputs = [x] if view.loss is None else [x, view.loss]
        torch.autograd.backward(outputs, [x.detach(), None][: len(outputs)])
        job.job.optimiser.step()
        if (step + 1) % job.config.picture_every == 0:
            walk(job.config, job.nerf, STRIP)


def loop(method: str) -> Row:
    """A run with log, pictures and checkpoints at their default intervals against the bare loop."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        job = TextToScene.start(SceneConfig("hamburger", method=method, steps=STEPS + 1, out=out))  # type: ignore[arg-type]
        state = {k: v.clone() for k, v in job.nerf.state_dict().items()}
        recorded, ratios = calls(job, STEPS), []
        for _ in range(ROUNDS):  # each of the two begins with the same field, which sets what is rendered
            spent = []
            for run in (partial(bare, job, recorded), partial(job.advance, stop_after=STEPS)):
                job.nerf.load_state_dict(state)
                job.job.progress = Progress()
                began = time.perf_counter()
                run()
                spent.append(time.perf_counter() - began)
            ratios.append(spent[1] / spent[0])
    ratio = statistics.median(ratios)
    name = f"loop of a scene / the same rendering and network calls, {method}, median of {ROUNDS}"
    return Row(name, f"{ratio:.3f}", "at most 1.05", ratio <= 1.05)


MEASURES: tuple[Callable[[], Row], ...] = (whole_run, partial(loop, "sds"), partial(loop, "msd"))
