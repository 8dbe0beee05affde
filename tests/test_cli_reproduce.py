"""``modeseek reproduce``: every table and figure of the plane, mistakes as one clear sentence, kill -9 and continue."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from tiny_laboratory import SET, shorten, shrink

from modeseek.experiments.config import Planar

FIRST = {  # a report, and what else is there
    "table1": [],
    "table2": ["table2-coverage.png", "table2-variance.pdf", "table2-settling.md"],
    "figure1": [f"figure1-{SET}.png", f"figure1-{SET}.pdf"],
    "figure3": [f"figure3-{SET}.png", "figure3-bias.pdf"],
}


@pytest.fixture
def small(tmp_path_factory, monkeypatch) -> None:
    shrink(monkeypatch.setattr, tmp_path_factory.mktemp("cache"))
    shorten(monkeypatch.setattr)


def test_every_table_and_figure_is_here():
    assert set(FIRST) == set(get_args(Planar))


@pytest.mark.parametrize("what", FIRST)
def test_where_results_go(what, modeseek, small):
    code, out, err = modeseek("reproduce", what, "--sets", SET, "--seeds", 1)
    assert (code, err) == (0, "")
    folder = Path("modeseek-runs", what)
    assert all((folder / name).stat().st_size for name in [f"{what}.md", f"{what}.json", *FIRST[what]])
    assert (folder / f"{what}.md").read_text() in out
    measured = [line for line in out.splitlines() if re.search(r": \d+ s$", line)]
    assert len(measured) == len(list((folder / "cells").iterdir())) > 1
    code, again, _ = modeseek("reproduce", what, "--sets", SET, "--seeds", 1)
    assert code == 0
    assert again == "".join(line + "\n" for line in out.splitlines() if line not in measured)


def test_more_seeds_keep_the_cells_of_fewer(modeseek, small):
    modeseek("reproduce", "table1", "--sets", SET, "--seeds", 1, "--out", "r")
    one = {p.name: p.read_bytes() for p in Path("r/cells").iterdir()}
    modeseek("reproduce", "table1", "--sets", SET, "--seeds", 3, "--out", "r")
    three = {p.name: p.read_bytes() for p in Path("r/cells").iterdir()}
    assert one.items() < three.items()


# -- mistakes ----------------------------------------------------------------------------------------------------------


def complaint(answer, code: int, *words: str) -> None:
    """One line on stderr, from us, with all the words, and nothing measured."""
    assert answer[0] == code, answer
    assert answer[1] == ""
    assert answer[2].startswith("modeseek: ")
    assert "Traceback" not in answer[2]
    assert "Error: " not in answer[2]
    assert all(word in answer[2] for word in words), answer[2]


def test_an_unknown_table(modeseek, tmp_path):
    code, _, err = modeseek("reproduce", "table9")
    assert code == 2
    assert "table9" in err
    assert all(name in err for name in FIRST)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", FIRST)
def test_an_unknown_set_is_refused_before_the_first_is_measured(what, modeseek, tmp_path):
    answer = modeseek("reproduce", what, "--sets", SET, "pin-whel")
    complaint(answer, 2, "must be one of fractal", "got 'pin-whel'. Did you mean 'pinwheel'?")
    assert list(tmp_path.iterdir()) == []


def test_a_set_that_is_no_picture(modeseek, tmp_path):
    (tmp_path / "notes.png").write_text("no picture")
    complaint(modeseek("reproduce", "table1", "--sets", "notes.png"), 2, "notes.png", "must be")
    assert [p.name for p in tmp_path.iterdir()] == ["notes.png"]


@pytest.mark.parametrize("seeds", [0, -3])
def test_seeds(seeds, modeseek, tmp_path):
    code, _, err = modeseek("reproduce", "table1", "--seeds", seeds)
    assert code == 2
    assert f"seeds must be at least 1, got {seeds}" in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", FIRST)
def test_results_must_go_to_a_folder(what, modeseek, tmp_path):
    (tmp_path / "file").write_text("mine")
    complaint(modeseek("reproduce", what, "--sets", SET, "--out", "file"), 1, "results must go to a folder; file is")
    answer = modeseek("reproduce", what, "--sets", SET, "--out", "file/below")
    complaint(answer, 1, "file/below must be writable: Not a directory")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("out", ["/proc/x", "/dev/full/x", "/dev/null/a/b"])
def test_nowhere_to_write(out, modeseek):
    complaint(modeseek("reproduce", "table1", "--sets", SET, "--out", out), 1, f"{out} must be writable")


@pytest.mark.parametrize("what", ["table2", "figure1", "figure3"])
def test_without_matplotlib(what, modeseek, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    complaint(modeseek("reproduce", what, "--sets", SET), 2, 'pip install "modeseek[plots]"')
    assert list(tmp_path.iterdir()) == []


# -- kill -9 -----------------------------------------------------------------------------------------------------------

# imports once, then starts the reproduction in one child after the other; each dies while it writes its third cell,
# before the file has its name, until one lives to the end
KILLER = """
import os, signal, sys
from pathlib import Path
import torch, safetensors.torch, matplotlib.figure, matplotlib.backends.backend_agg
from modeseek import cli, plots, runs
from tiny_laboratory import SET, shorten, shrink

folder = Path(sys.argv[1])
shrink(setattr, folder / "cache")
shorten(setattr)
plots._files = lambda figure, suffixes: {s: b"" for s in suffixes}  # drawing is most of the time and has other tests
torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # the first takes seconds
real = os.replace

def deadly():
    written = []
    def replace(source, target):
        if Path(target).parent.name == "cells":
            written.append(target)
            if len(written) == 3:
                os.kill(os.getpid(), signal.SIGKILL)
        real(source, target)
    runs.os.replace = replace

def child(what, out, kill):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        if kill:
            deadly()
        try:
            cli.main(["reproduce", what, "--sets", SET, "--seeds", "3", "--out", str(folder / out / what)])
        except SystemExit as ended:
            os._exit(ended.code)  # not sys.exit: to take all modules down takes seconds
    return os.waitpid(pid, 0)[1]

for what in sys.argv[2:]:
    assert child(what, "whole", False) == 0
    deaths, status = 0, -1
    while status != 0:
        status = child(what, "killed", True)
        assert status in (0, signal.SIGKILL), status
        deaths += status == signal.SIGKILL
    print(what, deaths, file=sys.stderr)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_kill_9_and_continue(tmp_path):
    """Only what is missing is measured, and in the end every report has the same bytes."""
    root = Path(__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), str(root / "tests")])}
    command = [sys.executable, "-c", KILLER, str(tmp_path), *FIRST]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    deaths = dict(line.split() for line in done.stderr.splitlines() if line.split()[0] in FIRST)
    for what in FIRST:
        whole, killed = (tmp_path / kind / what for kind in ("whole", "killed"))
        kept = [sorted(p.name for p in (folder / "cells").iterdir()) for folder in (whole, killed)]
        assert kept[0] == kept[1]
        assert int(deaths[what]) == (len(kept[0]) - 1) // 2 > 0  # each life but the last brought two cells
        for path in whole.iterdir():
            if path.is_file():
                assert (killed / path.name).read_bytes() == path.read_bytes(), path.name
        assert list(killed.rglob(".*.part")) == []
