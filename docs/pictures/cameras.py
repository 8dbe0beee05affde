"""Draw the convention of cameras: ``python docs/pictures/cameras.py`` makes cameras.png."""

from __future__ import annotations

import itertools
from pathlib import Path

import matplotlib.pyplot as plt
import torch

from modeseek.cameras import Cameras

HERE = Path(__file__).parent
COLOURS = ("tab:red", "tab:green", "tab:blue")  # x, y, z
VIEWS = ((0, 0, "azimuth 0: front"), (90, 0, "azimuth 90: its left"), (-70, 40, "azimuth -70, elevation 40"))


def shown(point: torch.Tensor) -> tuple[float, float, float]:
    """Ours (y up) as matplotlib's axes (z up)."""
    x, y, z = point.tolist()
    return z, x, y


def line(axes: plt.Axes, a: torch.Tensor, b: torch.Tensor, **style: object) -> None:
    """From a to b in our world."""
    axes.plot(*zip(shown(a), shown(b)), **style)


def main() -> None:
    """The cube, the object's axes and three cameras."""
    figure = plt.figure(figsize=(9, 5.2))
    axes = figure.add_axes((-0.25, -0.35, 1.5, 1.65), projection="3d", computed_zorder=False)
    corners = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=3)))
    for a, b in itertools.combinations(corners, 2):
        if (a != b).sum() == 1:
            line(axes, a, b, color="0.75", linewidth=0.8)
    zero = torch.zeros(3)
    for k, (colour, name) in enumerate(zip(COLOURS, ("+x: the object's left", "+y: up", "+z: the object faces"))):
        end = 1.6 * torch.eye(3)[k]
        axes.quiver(*shown(zero), *shown(end), color=colour, arrow_length_ratio=0.1)
        axes.text(*shown(1.08 * end), name, color=colour, fontsize=9)
    for azimuth, elevation, name in VIEWS:
        camera = Cameras.look_at([float(azimuth)], [float(elevation)], [3.2], [30.0])
        place, turn = camera.position[0], camera.pose[0, :3, :3]
        _, rays = camera.rays(2, 2)
        ends = [place + 0.9 * ray for ray in rays.flatten(0, 2)]
        for a, b in ((0, 1), (1, 3), (3, 2), (2, 0)):
            line(axes, ends[a], ends[b], color="black", linewidth=0.9)
        for end in ends:
            line(axes, place, end, color="black", linewidth=0.9)
        for k, colour in enumerate(COLOURS):
            axes.quiver(*shown(place), *shown(0.7 * turn[:, k]), color=colour, arrow_length_ratio=0.2, linewidth=1.2)
        axes.text(*shown(place + torch.tensor([0.0, 0.55, 0.0])), name, fontsize=9, ha="center")
    axes.set_axis_off()
    axes.set_box_aspect((5.2, 6.6, 3.95), zoom=1.0)
    axes.set_xlim(-1.5, 3.7), axes.set_ylim(-2.9, 3.7), axes.set_zlim(-1.2, 2.75)
    axes.view_init(elev=24, azim=28)
    figure.savefig(HERE / "cameras.png", dpi=90)


if __name__ == "__main__":
    main()
