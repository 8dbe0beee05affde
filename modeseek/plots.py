"""Figures of the plane: same axes, a legend, colours that the colour-blind tell apart, PNG and vector PDF.

matplotlib is imported where it is needed; ``pip install "modeseek[plots]"`` brings it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modeseek.errors import UsageError
from modeseek.runs import write_atomic

# Okabe & Ito (2008)
ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
STYLE = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "legend.frameon": False,
    "savefig.dpi": 160,
    "pdf.fonttype": 42,  # text stays text
}


@dataclass(frozen=True)
class Panel:
    """One square of the plane.

    Attributes:
        title: above it.
        image: (nx, ny) values over [-box, box]^2 behind everything, the first axis rightwards.
        heights: (nx, ny) of a landscape over [-box, box]^2, drawn as contours, denser where it is low.
        dots: (N, 2) by name, small dots, in the order of the colours.
        marks: (M, 2) by name, larger markers.
        arrows: positions (K, 2) and vectors (K, 2), drawn at one length.
    """

    title: str
    image: Tensor | None = None
    heights: Tensor | None = None
    dots: Mapping[str, Tensor] = field(default_factory=dict)
    marks: Mapping[str, Tensor] = field(default_factory=dict)
    arrows: tuple[Tensor, Tensor] | None = None


def require() -> None:
    """Refuse to begin what could not be drawn.

    Raises:
        UsageError: if matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UsageError('matplotlib must be installed to draw figures: pip install "modeseek[plots]"') from error


@contextmanager
def _figure(**options: Any) -> Iterator[tuple[Any, Any]]:
    """A figure without a window and its axes, closed in the end."""
    require()
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(layout="constrained", figsize=options.pop("figsize"))
        FigureCanvasAgg(figure)
        yield figure, figure.subplots(squeeze=False, **options)


CONTOURS = (0.001, 0.003, 0.01, 0.02, 0.04, 0.07, 0.12, 0.2, 0.3, 0.45, 0.65, 0.85)  # shares of the area below
MARKS = {"true modes": ("x", "#000000"), "phantom minima": ("o", VERMILION), "minima at a mode": ("o", BLUE)}


def draw(axes: Any, panel: Panel, box: float) -> None:
    """One panel on matplotlib axes."""
    axes.set(title=panel.title, xlim=(-box, box), ylim=(-box, box), aspect="equal")
    axes.tick_params(length=2)
    if panel.image is not None:
        extent = (-box, box, -box, box)
        axes.imshow(panel.image.T, origin="lower", extent=extent, cmap="Greys", interpolation="bilinear", alpha=0.55)
    if panel.heights is not None:
        nodes = [torch.linspace(-box, box, n).numpy() for n in panel.heights.shape]
        levels = panel.heights.quantile(torch.tensor(CONTOURS, dtype=panel.heights.dtype))
        if bool((levels.diff() > 0).all()):  # not for a field that is flat
            axes.contourf(*nodes, panel.heights.T, levels.tolist(), cmap="Blues_r", extend="both", alpha=0.6)
            axes.contour(*nodes, panel.heights.T, levels.tolist(), colors="#404040", linewidths=0.25)
    if panel.arrows is not None:
        at, vector = panel.arrows
        unit = vector / vector.norm(dim=1, keepdim=True).clamp(min=1e-300)
        axes.quiver(*at.T, *unit.T, color="#808080", scale=28, width=0.003)
    for (name, dots), colour in zip(panel.dots.items(), COLOURS):
        axes.scatter(*dots.T, s=5, zorder=4, color=colour, linewidths=0, label=name, rasterized=len(dots) > 5000)
    for name, marks in panel.marks.items():
        marker, colour = MARKS.get(name, ("+", GREEN))
        face = {} if marker in "x+" else {"facecolors": "none"}
        colours = {"edgecolors": colour} if face else {"color": colour}
        label = name if len(marks) else None
        axes.scatter(*marks.T, s=18, marker=marker, linewidths=0.9, label=label, zorder=3, **colours, **face)


Files = dict[str, bytes]  # a figure by suffix
BOTH = (".png", ".pdf")


def panels(
    items: Sequence[Panel],
    *,
    box: float,
    columns: int | None = None,
    title: str = "",
    suffixes: Sequence[str] = BOTH,
) -> Files:
    """Panels side by side with one legend below."""
    columns = columns or min(4, len(items))
    rows = -(-len(items) // columns)
    size = (2.3 * columns + 0.2, 2.45 * rows + 0.35 + 0.2 * bool(title))
    with _figure(nrows=rows, ncols=columns, figsize=size, sharex=True, sharey=True) as (figure, axes):
        for axis in axes.flat[len(items) :]:
            axis.set_visible(False)
        for axis, item in zip(axes.flat, items):
            draw(axis, item, box)
        _legend(figure, axes)
        if title:
            figure.suptitle(title)
        return _files(figure, suffixes)


@dataclass(frozen=True)
class Curves:
    """One plot of lines.

    Attributes:
        title: above it.
        x: label of the axis.
        y: label of the axis.
        lines: by name, points (x, y) or (x, y, spread).
        log_x: logarithmic axis.
        log_y: logarithmic axis.
        levels: horizontal lines by name.
    """

    title: str
    x: str
    y: str
    lines: Mapping[str, Sequence[tuple[float, ...]]]
    log_x: bool = False
    log_y: bool = False
    levels: Mapping[str, float] = field(default_factory=dict)


def curves(items: Sequence[Curves], *, columns: int | None = None) -> Files:
    """Line plots side by side with one legend below."""
    columns = columns or min(3, len(items))
    rows = -(-len(items) // columns)
    with _figure(nrows=rows, ncols=columns, figsize=(2.9 * columns + 0.2, 2.4 * rows + 0.5)) as (figure, axes):
        for axis in axes.flat[len(items) :]:
            axis.set_visible(False)
        for axis, item in zip(axes.flat, items):
            axis.set(title=item.title, xlabel=item.x, ylabel=item.y)
            for k, (name, line) in enumerate(item.lines.items()):
                xs, ys, *spread = zip(*line)
                style = {"color": COLOURS[k % 7], "marker": MARKERS[k % 7], "label": name, "capsize": 2}
                axis.errorbar(xs, ys, yerr=spread[0] if spread else None, **style)
            for k, (name, level) in enumerate(item.levels.items()):
                axis.axhline(level, color="#808080", linestyle=("--", ":", "-.")[k % 3], label=name)
            if item.log_x:
                axis.set_xscale("log")
                _decades(axis.xaxis)
            if item.log_y:
                axis.set_yscale("log")
                _decades(axis.yaxis)
        _legend(figure, axes)
        return _files(figure, BOTH)


def _decades(side: Any) -> None:
    """Numbers written out, at 1, 2 and 5 of each decade; at powers of ten alone where an axis has many decades."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = side.get_view_interval()
    few = high / low < 10**2.5
    side.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
    side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    side.set_minor_formatter(NullFormatter())


def _legend(figure: Any, axes: Any) -> None:
    """One entry a name, over all axes."""
    entries: dict[str, Any] = {}
    for axis in axes.flat:
        handles, labels = axis.get_legend_handles_labels()
        entries |= {label: handle for handle, label in zip(handles, labels) if label not in entries}
    if entries:
        widest = 0.065 * max(map(len, entries)) + 0.55  # inches, of a handle and its text at this size of type
        columns = min(len(entries), max(1, int(figure.get_figwidth() / widest)))
        figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=columns)


UNDATED = {".png": {"Software": None}, ".pdf": {"CreationDate": None, "Producer": None}}


def _files(figure: Any, suffixes: Sequence[str]) -> Files:
    """The figure in some formats; the same figure gives the same bytes."""
    out = {}
    for suffix in suffixes:
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix[1:], metadata=UNDATED[suffix])
        out[suffix] = buffer.getvalue()
    return out


def keep(stem: Path, figure: Mapping[str, bytes]) -> Path:
    """Write a figure beside its stem, whole or not at all; the PNG's path.

    Raises:
        RunError: if the disk is full or read-only.
    """
    for suffix, data in figure.items():
        write_atomic(stem.with_name(stem.name + suffix), data)
    return stem.with_name(stem.name + ".png")
