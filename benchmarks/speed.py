"""The package's own cost: imports, help, the loop against a bare one, a whole run, memory."""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROUNDS = 9


@dataclass(frozen=True)
class Row:
    """A measurement beside what is expected."""

    what: str
    measured: str
    expected: str
    met: bool


def _python(code: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def imports() -> Row:
    """``import modeseek`` beyond ``import torch``."""
    pairs = [(_python("import torch, modeseek"), _python("import torch")) for _ in range(ROUNDS)]
    extra = statistics.median(a - b for a, b in pairs)
    return Row("`import modeseek` beyond `import torch`", f"{extra:+.3f} s", "at most 0.3 s", extra <= 0.3)


def help_page() -> Row:
    """``modeseek --help``."""
    code = "import sys; sys.argv = ['modeseek', '--help']; import modeseek.cli as c; c.main()"
    seconds = statistics.median(_python(code) for _ in range(ROUNDS))
    return Row("`modeseek --help`", f"{seconds:.2f} s", "at most 0.5 s", seconds <= 0.5)


def whole_run() -> Row:
    """``modeseek image "hamburger"`` from the shell, start-up included."""
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "run")
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "modeseek", "image", "hamburger", "--out", out],
            check=True,
            capture_output=True,
            text=True,
        )
        seconds = time.perf_counter() - began
    found = re.search(r"peak memory (\d+) MiB", done.stdout)
    peak = f", peak memory {found.group(1)} MiB" if found else ""
    return Row('`modeseek image "hamburger"`', f"{seconds:.0f} s{peak}", "at most 60 s", seconds <= 60)


_MEMORY = """
import json, resource, sys
from pathlib import Path
from modeseek.config import ImageConfig
from modeseek.descent import peak_memory
from modeseek.text2image import TextToImage
job = TextToImage.start(ImageConfig(("hamburger",), sample_steps=2, steps=1000, out=Path(sys.argv[1])))
peaks = []
for _ in range(4):
    job.advance(stop_after=100)
    peaks.append(peak_memory())
print(json.dumps(peaks))
"""


def memory() -> Row:
    """Peak memory after 100 and after 400 steps of one run."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", _MEMORY, str(Path(folder) / "run")], check=True, capture_output=True, text=True
        )
    peaks = json.loads(done.stdout.splitlines()[-1])
    ratio = peaks[-1] / peaks[0]
    return Row("peak memory after 400 steps / after 100", f"{ratio:.3f}", "at most 1.05", ratio <= 1.05)


MEASURES = (imports, help_page, whole_run, memory)
