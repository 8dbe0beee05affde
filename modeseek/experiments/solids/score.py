"""How near a field is to a solid: overlap of volumes, and pictures from views that it was not made from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from modeseek.experiments.solids.shapes import Solid
from modeseek.experiments.solids.views import Stock
from modeseek.generators.nerf.base import Field
from modeseek.generators.nerf.renderer import Renderer

LATTICE = 64  # points along each side of the cube, 1/32 apart
DENSE = 5.0  # per unit of length: a solid one unit thick lets 0.7 % of the light through
DARK = 0.05  # share of the light
AT_ONCE = 1 << 16


def lattice(n: int = LATTICE) -> Tensor:
    """The middles of n^3 cells of [-1, 1]^3, (n, n, n, 3)."""
    middles = (torch.arange(n) + 0.5) * (2 / n) - 1
    return torch.stack(torch.meshgrid(middles, middles, middles, indexing="ij"), -1)


@torch.no_grad()
def densities(field: Field, n: int = LATTICE) -> Tensor:
    """The field's densities on the lattice, (n, n, n)."""
    parts = torch.split(lattice(n).reshape(-1, 3), AT_ONCE)
    return torch.cat([field.density(part)[0] for part in parts]).reshape(n, n, n)


def filled(density: Tensor) -> Tensor:
    """Which cells (n, n, n) are inside: denser than ``DENSE``, or dark along all six axes. Equation NERF-8.

    Pictures tell nothing of what is behind a surface: a field may be hollow or not, and render the same. So what less
    than ``DARK`` of the light reaches from any side counts as filled. Whatever lies outside of the eight solids is
    reached along some axis.
    """
    layer = density * (2 / len(density))  # optical depth of a cell
    lit = torch.zeros_like(density, dtype=torch.bool)
    for axis in range(3):
        before = layer.cumsum(axis) - layer / 2
        lit |= (before < -math.log(DARK)) | (layer.sum(axis, keepdim=True) - before < -math.log(DARK))
    return (density > DENSE) | ~lit


def overlap(a: Tensor, b: Tensor) -> float:
    """Intersection over union of two sets of cells; 0 where both are empty."""
    return float((a & b).sum()) / max(1, int((a | b).sum()))


def psnr(image: Tensor, reference: Tensor) -> float:
    """``-10 log10`` of the mean squared difference of pictures in [0, 1], in decibels."""
    return -10 * math.log10(max(1e-12, float((image.double() - reference.double()).square().mean())))


@dataclass(frozen=True)
class Judge:
    """Solids on the lattice and from held-out views.

    Attributes:
        held: views that no field is made from.
        inside: (N, n, n, n), of each solid.
        blends: what the mean of all solids' pictures scores against each, in decibels.
    """

    held: Stock
    inside: Tensor
    blends: tuple[float, ...]

    @classmethod
    def of(cls, solids: Sequence[Solid], held: Stock) -> Judge:
        """Of solids and their held-out views."""
        points = lattice()
        inside = torch.stack([s.occupied(points.reshape(-1, 3)).reshape(points.shape[:3]) for s in solids])
        mean = held.pictures.mean(1)
        return cls(held, inside, tuple(psnr(mean, held.pictures[:, i]) for i in range(len(solids))))

    @torch.no_grad()
    def score(self, renderer: Renderer) -> tuple[Score, Tensor]:
        """The score of a field, and its held-out pictures (V, 3, H, H)."""
        size = self.held.pictures.shape[-1]
        images = renderer(self.held.cameras, size, size).image
        scores = [psnr(images, self.held.pictures[:, i]) for i in range(len(self.inside))]
        best = max(range(len(scores)), key=scores.__getitem__)
        density = densities(renderer.field)
        iou = overlap(filled(density), self.inside[best])
        return Score(best, scores[best], scores[best] - self.blends[best], iou), images


@dataclass(frozen=True)
class Score:
    """A field against the solid whose held-out pictures are nearest to its own.

    Attributes:
        solid: that solid's number.
        psnr: of the held-out pictures, in decibels.
        margin: by how much that exceeds what the mean of all solids' pictures scores against it.
        iou: intersection over union of what is inside.
    """

    solid: int
    psnr: float
    margin: float
    iou: float

    @property
    def on_one(self) -> bool:
        """Whether it is one solid rather than a blend: half its volume, and pictures 3 dB nearer than the mean's.

        The mean picture is what a field under equal pull of all solids renders. IoU alone would not do, since a cube
        has 0.69 with a ball; PSNR alone would not, since a film at the right distance paints a picture.
        """
        return self.iou >= 0.5 and self.margin >= 3.0
