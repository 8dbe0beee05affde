"""What pip installs holds the models and the type marker."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_the_wheel_is_complete(tmp_path):
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    sources = {str(p.relative_to(ROOT)) for p in (ROOT / "modeseek").rglob("*") if p.is_file()}
    assert {s for s in sources if "__pycache__" not in s} <= inside
    assert {"modeseek/py.typed", "modeseek/models/pocket/model_index.json"} <= inside
    assert not any(name.startswith(("tests/", "training/", "benchmarks/")) for name in inside)
