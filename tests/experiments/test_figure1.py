"""Figure 1: which panels, their numbers, drawn again from what was kept."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from tiny_laboratory import SET, cells, shrink, strict

from modeseek.errors import UsageError
from modeseek.experiments import figure1
from modeseek.experiments.cells import Book
from modeseek.experiments.config import ReproduceConfig
from modeseek.experiments.figure1 import PANELS, figure
from modeseek.lab.config import LabConfig
from modeseek.lab.measure import Truth
from modeseek.lab.problem import Problem

FILES = [f"figure1-{SET}.pdf", f"figure1-{SET}.png", "figure1.json", "figure1.md"]


@pytest.fixture
def small(tmp_path, monkeypatch) -> None:
    shrink(monkeypatch.setattr, tmp_path / "cache")


def test_the_panels_of_the_paper():
    """One class of the fractal by DDIM, SDS and MSD, without guidance."""
    made = [LabConfig("fractal", **options) for _, options, _ in PANELS]
    assert [c.method for c in made[:3]] == ["ddim", "sds", "msd"]
    assert {c.guidance for c in made} == {"none"}
    assert ReproduceConfig("figure1").chosen() == ("fractal",)
    assert Problem.of(made[0]).planar.target == 0


def test_panels_and_their_numbers(small, tmp_path):
    """The numbers stand on the points that are drawn."""
    book = Book(tmp_path, say=lambda text: None)
    drawn, rows = figure(book, SET, "ideal")
    assert len(drawn) == 1 + len(PANELS) == 1 + len(rows)
    assert drawn[0].title == "ideal denoiser\ntrue samples"
    for panel, row, (title, options, expected) in zip(drawn[1:], rows, PANELS):
        config = figure1.LabConfig(SET, denoiser="ideal", **options)
        assert (row.set, row.denoiser, row.title, row.expected) == (SET, "ideal", title, expected)
        assert panel.title.startswith(f"{title}: NLL {row.numbers['nll']:.2f}\n")
        assert row.numbers == Truth.of(config, Problem.of(config)).measure(panel.dots["points"])
        assert panel.dots["points"].shape == (9, 2)
    points = [panel.dots["points"] for panel in drawn]
    assert all(not torch.equal(a, b) for k, a in enumerate(points) for b in points[:k])


def test_the_figure_is_drawn_again_from_what_was_kept(small, tmp_path, monkeypatch, capsys):
    config, out = ReproduceConfig("figure1", out=tmp_path / "out", sets=(SET,)), tmp_path / "out"
    figure1.main(config)
    assert sorted(p.name for p in out.iterdir() if p.is_file()) == FILES
    assert (out / "figure1.md").read_text() in capsys.readouterr().out
    first = [(out / name).read_bytes() for name in FILES]
    head, *lines = cells((out / "figure1.md").read_text())
    assert head == ["set", "denoiser", "panel", "NLL", "precision", "recall", "modes found", "expected"]
    assert [line[1:3] for line in lines] == [[d, title] for d in ("ideal", "learned") for title, *_ in PANELS]
    assert [r["title"] for r in strict(out / "figure1.json")] == [line[2] for line in lines]
    width, height = Image.open(out / FILES[1]).size
    assert width > 2 * height > 1000  # five columns, two rows

    def refuse(*arguments):
        raise AssertionError("this was measured already")

    monkeypatch.setattr(figure1, "moved", refuse)
    monkeypatch.setattr(Truth, "measure", refuse)
    figure1.main(config)
    assert [(out / name).read_bytes() for name in FILES] == first


def test_a_picture_file_is_a_set_too(small, tmp_path, monkeypatch):
    """Its figure goes to the folder, whatever folder the picture is in."""
    picture = tmp_path / "pictures" / "dot.png"
    picture.parent.mkdir()
    pixels = Image.new("L", (6, 6))
    pixels.putpixel((3, 3), 255)
    pixels.putpixel((1, 2), 200)
    pixels.save(picture)
    monkeypatch.setattr(figure1, "DENOISERS", ("ideal",))
    figure1.main(ReproduceConfig("figure1", out=tmp_path / "out", sets=(str(picture),)))
    assert (tmp_path / "out" / "figure1-dot.png").is_file()


def test_without_matplotlib_nothing_is_computed(small, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(UsageError, match="matplotlib must be installed to draw figures"):
        figure1.main(ReproduceConfig("figure1", out=tmp_path / "out", sets=(SET,)))
    assert not (tmp_path / "out").exists()
