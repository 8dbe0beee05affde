"""The report: every file, numbers that independent calls give, the cost said first, failures named."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image

from modeseek.compare.config import Contender
from modeseek.compare.costs import TRAINING, costs, describe
from modeseek.compare.measure import Gauge, finals, found
from modeseek.compare.memory import Peak
from modeseek.compare.report import write_report
from modeseek.metrics import ImageText, frechet_distance
from modeseek.metrics.pca import PCA


@pytest.fixture
def painted(compare):
    comparison = compare("sds,msd", seeds="0-2", dimensions=3)
    comparison.paint()
    return comparison


def test_every_file(painted):
    path = write_report(Gauge.of(painted))
    text, out = path.read_text(), painted.config.out
    assert path == out / "report.md"
    for word in (
        "| ddim | 6 |",
        "| sds | 6 |",
        "| msd | 6 |",
        "contact.png",
        "curves.png",
        "clip:pocket-clip",
        "3 dim",
    ):
        assert word in text
    stored = json.loads((out / "report.json").read_text())
    assert [row["name"] for row in stored["rows"]] == ["ddim", "sds", "msd"]
    assert [len(row["curve"]) for row in stored["rows"]] == [1, 3, 3]
    assert stored["model"] == painted.prior.fingerprint
    for name in ("contact.png", "curves.png"):
        Image.open(out / name).verify()
    # three rows of two pictures of 16 pixels, a title of 16 above each
    assert Image.open(out / "contact.png").size == (2 * 16 + 2, 3 * (16 + 16))


def test_numbers_are_those_of_the_metrics_alone(painted):
    gauge = Gauge.of(painted)
    row = gauge.row(Contender("sds"))
    clip = ImageText.open()
    sets = [clip.images(finals(found(painted, c))).double() for c in (Contender("sds"), painted.contenders[0])]
    pca = PCA.fit(sets[1], 3)
    distance = frechet_distance(pca(sets[0]), pca(sets[1]))
    assert row.results["frechet"].value == pytest.approx(distance, rel=1e-6)
    assert row.curve[-1].frechet == pytest.approx(distance, rel=1e-6)
    prompts = ["red cat", "a tree"] * 3
    similarity = clip.similarity(finals(found(painted, Contender("sds"))), prompts)
    assert row.results["similarity"].value == pytest.approx(100 * float(similarity.mean()), rel=1e-5)
    assert row.nfe == painted.nfe(Contender("sds")) == row.curve[-1].nfe == 6
    assert [p.steps for p in row.curve] == [1, 2, 3]
    assert len(row.per_seed) == 3
    assert row.seconds == row.curve[-1].seconds > 0


def test_failures_are_in_the_report(painted):
    painted.failed["msd", "a tree", 1] = "it broke"
    assert "| msd | a tree | 1 | it broke |" in write_report(Gauge.of(painted)).read_text()


def test_what_it_will_cost(compare):
    comparison = compare("sds,vsd", batch=4)
    before = costs(comparison)
    assert [(str(c.contender), c.cells, c.steps, c.nfe) for c in before] == [
        ("reference", 4, 0, 4),
        ("ddim", 4, 0, 4),
        ("sds", 4, 3, 6),
        ("vsd", 4, 3, 9),
    ]
    assert all(c.seconds > 0 for c in before)
    shown = describe(before, "cpu")
    assert "| vsd | 4 | 3 | 9 |" in shown
    assert "in all" in shown
    comparison.paint()
    assert costs(comparison) == []
    assert "already" in describe([], "cpu")


def test_training_counts_in_the_cost(compare, monkeypatch):
    from modeseek.compare import costs as module

    asked = []
    monkeypatch.setattr(module, "seconds_per_evaluation", lambda _, n: asked.append(n) or 1.0)
    monkeypatch.setattr(module, "seconds_per_rendering", lambda *_: 10.0)
    found = {str(c.contender): c.seconds for c in costs(compare("sds,vsd"))}
    assert found == {"reference": 16, "ddim": 16, "sds": 4 * (6 + 30), "vsd": 4 * (9 + TRAINING * 3 + 30)}
    assert asked == [4, 2]  # vsd's particles of a prompt travel alone; each size is timed once


def test_peak_memory_is_that_of_what_ran_since():
    peak = Peak(torch.device("cpu"))
    if not peak.known:
        pytest.skip("this system does not tell the peak of a part of a process")
    before = peak.mib()
    block = torch.ones(64 << 20, dtype=torch.uint8)
    grown = peak.mib()
    del block
    assert 60 <= grown - before <= 100
    assert Peak(torch.device("cpu")).mib() <= grown - 50


# -- the command line --------------------------------------------------------------------------------------------------


def arguments(tiny, prompts, *more):
    return ("compare", "--prompts", prompts, "--prior", tiny, "--steps", 2, "--ddim-steps", 2, "--seeds", "0-1", *more)


NOTE = "modeseek: note: the shipped small CLIP knows pictures of single things on white"


def test_the_command_says_the_cost_first_and_prints_the_report(modeseek, tiny, tmp_path):
    (tmp_path / "p.txt").write_text("red cat\na tree\n")
    code, out, _ = modeseek(*arguments(tiny, "p.txt", "--methods", "sds,sdi", "--dry-run"))
    assert code == 0
    assert "| sds | 4 |" in out
    assert not list(tmp_path.glob("modeseek-runs/compare/cells/*"))
    code, out, err = modeseek(*arguments(tiny, "p.txt", "--methods", "sds,sdi"))
    assert code == 0
    assert err.startswith(NOTE)
    assert err.count("modeseek:") == 1
    assert out.index("evaluations a picture") < out.index("# paper2d") < out.index("report.md")
    code, again, _ = modeseek(*arguments(tiny, "p.txt", "--methods", "sds,sdi"))
    assert "already" in again
    assert again.split("# paper2d")[1] == out.split("# paper2d")[1]


@pytest.mark.parametrize(
    ("text", "more", "words"),
    [
        ("", (), ("at least one prompt",)),
        ("cat\ncat\n", (), ("repeats 'cat'",)),
        ("cat\n", ("--methods", "sds,foo"), ("methods", "foo")),
        ("cat\n", ("--features", "absent/folder"), ("absent/folder",)),
        ("cat\n", ("--seeds", "3"), ("two pictures or more",)),
        ("cat\n", ("--ddim-steps", "2000"), ("between 1 and 1000, got 2000",)),
        ("cat\n", ("--seeds", "0,1000000"), ("below 1000000",)),
    ],
)
def test_mistakes_are_one_sentence(modeseek, tiny, tmp_path, text, more, words):
    (tmp_path / "p.txt").write_text(text)
    code, out, err = modeseek(*arguments(tiny, "p.txt", *more))
    assert code in (1, 2)
    assert out == ""
    assert "Traceback" not in err
    assert all(word in err for word in words), err
    assert not list(tmp_path.glob("modeseek-runs/compare/cells/*"))


def test_a_failed_picture_is_told_by_the_exit_code(modeseek, tiny, tmp_path, monkeypatch):
    from modeseek.compare import run
    from modeseek.errors import NonFiniteError

    def broken(self, cells):
        raise NonFiniteError("the target must be finite")

    monkeypatch.setattr(run.Comparison, "_distilled", broken)
    (tmp_path / "p.txt").write_text("red cat\na tree\n")
    code, out, err = modeseek(*arguments(tiny, "p.txt", "--methods", "sds"))
    assert code == 1
    assert "4 picture(s) failed" in err
    assert "| sds | red cat | 0 | the target must be finite |" in out
