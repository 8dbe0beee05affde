"""Figures: files that repeat to the byte, one legend, and a clear sentence where matplotlib is missing."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from modeseek import plots
from modeseek.errors import RunError, UsageError
from modeseek.plots import COLOURS, MARKERS, Curves, Panel, curves, draw, keep, panels, require


def panel(title: str = "a panel", n: int = 30) -> Panel:
    """Everything that a panel may hold."""
    rng = torch.Generator().manual_seed(0)
    nodes = torch.linspace(-1, 1, 21)
    return Panel(
        title,
        image=torch.rand(16, 16, generator=rng),
        heights=nodes[:, None] ** 2 + nodes**2 + 0.1 * nodes,
        dots={"MSD": 0.4 * torch.randn(n, 2, generator=rng), "SDS": 0.4 * torch.randn(n, 2, generator=rng)},
        marks={"true modes": torch.zeros(1, 2), "phantom minima": torch.ones(2, 2) / 2, "others": torch.ones(1, 2) / 3},
        arrows=(torch.rand(9, 2, generator=rng), torch.randn(9, 2, generator=rng)),
    )


LINES = {"one": [(1.0, 2.0), (10.0, 3.0)], "two": [(1.0, 1.0, 0.5), (10.0, 4.0, 0.2)]}
CURVES = Curves("title", "N", "variance", LINES, log_x=True, log_y=True, levels={"entropy": 2.5})


def size(data: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(data)).size


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """matplotlib's figures, in the order in which they were made."""
    made: list[Any] = []
    real = plots._figure

    @contextmanager
    def kept(**options: Any) -> Iterator[tuple[Any, Any]]:
        with real(**options) as (figure, axes):
            made.append(figure)
            yield figure, axes

    monkeypatch.setattr(plots, "_figure", kept)
    return made


def legend(figure: Any) -> list[str]:
    return [text.get_text() for each in figure.legends for text in each.get_texts()]


# -- files -------------------------------------------------------------------------------------------------------------


def test_panels_as_png_and_pdf() -> None:
    files = panels([panel()], box=1.0)
    assert set(files) == {".png", ".pdf"}
    assert files[".png"].startswith(b"\x89PNG")
    assert files[".pdf"].startswith(b"%PDF")
    assert files[".pdf"].rstrip().endswith(b"%%EOF")
    assert set(panels([panel()], box=1.0, suffixes=[".png"])) == {".png"}


def test_the_same_figure_gives_the_same_bytes() -> None:
    assert panels([panel(), panel("b")], box=1.0) == panels([panel(), panel("b")], box=1.0)
    assert curves([CURVES]) == curves([CURVES])
    for suffix, data in panels([panel("x")], box=1.0).items():
        assert data != panels([panel("y")], box=1.0)[suffix]


def test_a_figure_does_not_hang_on_what_matplotlib_was_told() -> None:
    import matplotlib as mpl

    expected = panels([panel()], box=1.0)
    before = dict(mpl.rcParams)
    with mpl.rc_context({"font.size": 20, "savefig.dpi": 10}):
        assert panels([panel()], box=1.0) == expected
    assert dict(mpl.rcParams) == before


def test_sizes() -> None:
    """Rows and columns of squares; 160 dots an inch."""
    one, three, six = (panels([panel()] * n, box=1.0, suffixes=[".png"])[".png"] for n in (1, 3, 6))
    assert size(one) == (400, 448)
    assert size(three) == (1136, 448)
    assert size(six) == (1504, 840)  # four and two
    assert size(panels([panel()] * 6, box=1.0, columns=3, suffixes=[".png"])[".png"]) == (1136, 840)
    titled = panels([panel()], box=1.0, title="all", suffixes=[".png"])[".png"]
    assert size(titled)[1] > size(one)[1]
    assert size(curves([CURVES] * 4)[".png"]) == (round(160 * 8.9), round(160 * 5.3))


def test_text_in_a_pdf_stays_text() -> None:
    """Fonts of type 42 are embedded as they are; of type 3 they would be drawings."""
    for files in (panels([panel()], box=1.0), curves([CURVES])):
        assert re.search(rb"/Subtype /(TrueType|CIDFontType2)", files[".pdf"])
        assert b"/Type3" not in files[".pdf"]


# -- what is drawn -----------------------------------------------------------------------------------------------------


def test_the_first_axis_points_right_and_the_second_up(drawn: list[Any]) -> None:
    image = torch.zeros(4, 4)
    image[3, 3] = 1  # the corner at (box, box)
    image[3, 0] = 0.5  # at (box, -box)
    picture = panels([Panel("", image=image)], box=2.0, suffixes=[".png"])[".png"]
    (axes,) = drawn[0].axes
    shown = axes.images[0]
    assert (tuple(shown.get_extent()), shown.origin) == ((-2, 2, -2, 2), "lower")
    assert (axes.get_xlim(), axes.get_ylim(), axes.get_aspect()) == ((-2, 2), (-2, 2), 1)
    corner = axes.transData.transform([(1.9, 1.9), (1.9, -1.9), (-1.9, -1.9)])
    grey = np.asarray(Image.open(io.BytesIO(picture)).convert("L"))
    scale = 160 / drawn[0].dpi
    right_up, right_down, left_down = (
        int(grey[grey.shape[0] - 1 - round(y * scale), round(x * scale)]) for x, y in corner
    )
    assert right_up < right_down < left_down


def test_contours_follow_the_heights(drawn: list[Any]) -> None:
    """A bowl whose bottom is at (0.5, 0): the lowest contour runs around it."""
    nodes = torch.linspace(-1, 1, 41)
    panels([Panel("", heights=(nodes[:, None] - 0.5) ** 2 + nodes**2)], box=1.0, suffixes=[".png"])
    lowest = drawn[0].axes[0].collections[-1].get_paths()[1].vertices
    np.testing.assert_allclose(lowest.mean(0), [0.5, 0.0], atol=0.02)


def test_a_flat_field_has_no_contours(drawn: list[Any]) -> None:
    panels([Panel("", heights=torch.zeros(9, 9))], box=1.0)
    assert len(drawn[0].axes[0].collections) == 0


def test_a_legend_holds_each_name_once(drawn: list[Any]) -> None:
    panels([panel("a"), panel("b"), Panel("c", dots={"more": torch.zeros(1, 2)}), Panel("empty")], box=1.0)
    assert legend(drawn[0]) == ["MSD", "SDS", "true modes", "phantom minima", "others", "more"]
    panels([Panel("nothing")], box=1.0)
    assert legend(drawn[1]) == []
    curves([CURVES, CURVES])
    assert sorted(legend(drawn[2])) == ["entropy", "one", "two"]


def test_panels_share_their_axes_and_the_rest_is_blank(drawn: list[Any]) -> None:
    panels([panel(str(k)) for k in range(5)], box=1.5)
    shown = [axes.get_visible() for axes in drawn[0].axes]
    assert shown == [True] * 5 + [False] * 3
    assert {axes.get_xlim() for axes in drawn[0].axes} == {(-1.5, 1.5)}
    assert [axes.get_title() for axes in drawn[0].axes[:5]] == ["0", "1", "2", "3", "4"]


def test_arrows_have_one_length(drawn: list[Any]) -> None:
    vectors = torch.tensor([[3.0, 4.0], [0.0, 1e-9], [0.0, 0.0]], dtype=torch.float64)
    panels([Panel("", arrows=(torch.zeros(3, 2), vectors))], box=1.0)
    (quiver,) = drawn[0].axes[0].collections
    np.testing.assert_allclose(np.stack([quiver.U, quiver.V], 1), [[0.6, 0.8], [0, 1], [0, 0]], atol=1e-12)


def test_curves_say_what_their_axes_are(drawn: list[Any]) -> None:
    curves([CURVES, Curves("other", "a", "b", {})])
    first, second = drawn[0].axes
    assert (first.get_title(), first.get_xlabel(), first.get_ylabel()) == ("title", "N", "variance")
    assert (first.get_xscale(), first.get_yscale()) == ("log", "log")
    assert (second.get_xscale(), second.get_yscale()) == ("linear", "linear")
    assert [line.get_ydata()[0] for line in first.get_lines() if line.get_label() == "entropy"] == [2.5]
    assert len({line.get_color() for line in first.get_lines()}) == 3


def test_names_get_colours_of_their_own(drawn: list[Any]) -> None:
    assert len(set(COLOURS)) == len(COLOURS) == len(MARKERS) == len(set(MARKERS))
    panels([Panel("", dots={str(k): torch.zeros(1, 2) for k in range(7)})], box=1.0)
    shades = {tuple(each.get_facecolor()[0]) for each in drawn[0].axes[0].collections}
    assert len(shades) == 7


def test_on_axes_of_somebody_else() -> None:
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    draw(axes, panel("here"), 1.0)
    assert axes.get_title() == "here"


# -- kept and refused --------------------------------------------------------------------------------------------------


def test_keep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = keep(tmp_path / "v1.2", {".png": b"p", ".pdf": b"q"})
    assert shown == tmp_path / "v1.2.png"
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"v1.2.png": b"p", "v1.2.pdf": b"q"}

    def full(*arguments: Any) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(RunError, match=r"v1\.2\.png must be writable: No space left on device"):
        keep(tmp_path / "v1.2", {".png": b"new"})
    assert (tmp_path / "v1.2.png").read_bytes() == b"p"


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    require()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    sentence = r'matplotlib must be installed to draw figures: pip install "modeseek\[plots\]"'
    for call in (require, lambda: panels([panel()], box=1.0), lambda: curves([CURVES])):
        with pytest.raises(UsageError, match=sentence):
            call()
