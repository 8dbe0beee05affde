"""The surface of a field as a mesh: marching cubes over its density, closed, coloured, facing outward."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from modeseek.errors import NonFiniteError, UsageError
from modeseek.generators.nerf.base import Field
from modeseek.scene.memory import available, in_words

if TYPE_CHECKING:
    import numpy as np

    Grid = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


@dataclass(frozen=True)
class Mesh:
    """Triangles in the world, y up, on the CPU.

    Attributes:
        vertices: (V, 3), in the world's units: the cube's side is 2.
        faces: (F, 3) rows of ``vertices``, anticlockwise seen from outside.
        colours: (V, 3) in [0, 1], as pictures have them (sRGB).
    """

    vertices: Tensor
    faces: Tensor
    colours: Tensor

    @property
    def volume(self) -> float:
        """Inside the surface; negative if it is turned inside out (MESH-2)."""
        return float(_volumes(self.vertices.double(), self.faces).sum())

    @property
    def open_edges(self) -> int:
        """Edges that do not lie between exactly two faces; a watertight mesh has none."""
        sides = torch.cat([self.faces[:, [0, 1]], self.faces[:, [1, 2]], self.faces[:, [2, 0]]]).sort(-1).values
        key = sides[:, 0] * max(1, len(self.vertices)) + sides[:, 1]
        _, times = torch.unique(key, return_counts=True)
        return int((times != 2).sum())


@torch.no_grad()
def extract(
    field: Field, *, resolution: int = 128, threshold: float = 10.0, floaters: float = 0.0, chunk: int = 2**16
) -> Mesh:
    """The surface where the density is ``threshold``, by marching cubes on a grid over the cube [-1, 1]^3.

    The cube is surrounded by emptiness, so that what touches its border is cut off there and closed.

    Args:
        resolution: points along each side; the memory grows with its cube.
        threshold: density per unit of length. At 10, half of the light is lost within ln 2 / 10 = 0.07, a thirtieth of
            the cube's side: what is thinner than that looks like mist, what is denser like a surface.
        floaters: parts with less than this share of all the volume are left out; 0 keeps all.
        chunk: points that the field is asked at once.

    Raises:
        UsageError: if an argument is out of its range, nothing is as dense as the threshold, or the grid does not fit
            into memory.
        NonFiniteError: if a density is not finite.
    """
    if not (threshold > 0 and math.isfinite(threshold)):
        raise UsageError(f"threshold must be a positive density, got {threshold}")
    if not 0 <= floaters < 1 or chunk < 1:
        raise UsageError(f"floaters must be in [0, 1) and chunk at least 1, got {floaters} and {chunk}")
    refuse_too_large(resolution)
    grid = densities(field, resolution, chunk)
    highest = float(grid[1:-1, 1:-1, 1:-1].max())
    if not highest > threshold:
        advice = f"threshold {highest / 2:.3g} would give something" if highest > 0 else "the field is empty"
        raise UsageError(f"nothing is denser than the threshold {threshold:g}: at most {highest:.3g}; {advice}")
    vertices, faces = surface(grid, threshold)
    if floaters > 0:
        vertices, faces = without_floaters(vertices, faces, floaters)
    inside = vertices - outward(vertices, faces) / (resolution - 1)  # half a cell
    return Mesh(vertices, faces, colours(field, inside.clamp(-1, 1), chunk))


def refuse_too_large(resolution: int) -> None:
    """Two copies of the grid in float32, and a surface of about 600 bytes for each of resolution^2 places.

    Raises:
        UsageError: if resolution is below 2, or what it needs is more than there is.
    """
    if resolution < 2:
        raise UsageError(f"resolution must be at least 2, got {resolution}")
    need, left = _need(resolution), available()
    if left is not None and need > left:
        largest = int((left / 8) ** (1 / 3)) // 16 * 16
        fits = next((r for r in range(largest, 0, -16) if _need(r) <= left), 0)
        raise UsageError(
            f"a mesh of resolution {resolution} needs {in_words(need)} of memory, and there is {in_words(left)}; "
            + (f"resolution {fits} would fit" if fits else "none would fit")
        )


def _need(resolution: int) -> int:
    return 8 * (resolution + 2) ** 3 + 600 * resolution**2


def densities(field: Field, resolution: int, chunk: int) -> Grid:
    """Density at the grid's points, (resolution + 2, ...) with a layer of -inf around, [i, j, k] at (x_i, y_j, z_k).

    Raises:
        NonFiniteError: if one is not finite.
    """
    import numpy as np

    like = next(field.parameters(), torch.zeros(()))
    axis = torch.linspace(-1, 1, resolution, dtype=torch.float64).to(like)
    grid = np.full((resolution + 2,) * 3, -np.inf, np.float32)
    n = resolution**3
    inner = grid[1:-1, 1:-1, 1:-1]
    for first in range(0, n, chunk):
        k = torch.arange(first, min(first + chunk, n), device=like.device)
        index = torch.stack([k // resolution**2, k // resolution % resolution, k % resolution], -1)
        found = field.density(axis[index])[0].float().cpu()
        if not bool(found.isfinite().all()):
            raise NonFiniteError(f"the field's density must be finite, got {found[~found.isfinite()][0].item()}")
        inner[tuple(index.T.cpu().numpy())] = found.numpy()
    return grid


def surface(grid: Grid, threshold: float) -> tuple[Tensor, Tensor]:
    """Vertices (V, 3) and faces (F, 3), outward, of a padded grid, which is changed.

    Equation MESH-1: on an edge of the grid whose ends are on both sides of the threshold a vertex stands where the
    density between them, linear, is the threshold. (Lorensen and Cline 1987.)

    Raises:
        UsageError: if scikit-image is missing.
    """
    try:
        from skimage.measure import marching_cubes
    except ImportError as error:
        raise UsageError('scikit-image must be installed to make a mesh: pip install "modeseek[three-d]"') from error
    # far below the threshold: the cut at the border stands beyond it by at most a hundredth of a cell, and not on it,
    # where the three vertices of a corner would be one
    outside = threshold - 99 * (float(grid.max()) - threshold)
    for layer in ((0,), (-1,)):
        for axis in range(3):
            grid[(slice(None),) * axis + layer] = outside
    # Lewiner's variant puts two vertices at one place now and then, which a program that merges them sees as a hole
    points, faces, _, _ = marching_cubes(grid, threshold, method="lorensen", gradient_direction="descent")
    cells = grid.shape[0] - 3
    vertices = ((torch.from_numpy(points.copy()).double() - 1) * (2 / cells) - 1).float()
    triangles = torch.from_numpy(faces.copy()).long()
    flipped = float(_volumes(vertices.double(), triangles).sum()) < 0
    return vertices, triangles.flip(-1) if flipped else triangles


def without_floaters(vertices: Tensor, faces: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Only the connected parts with at least ``share`` of the volume; a hollow counts as a part of its own."""
    part = parts(len(vertices), faces)
    each = torch.zeros(len(vertices), dtype=torch.float64)
    each = each.index_add(0, part[faces[:, 0]], _volumes(vertices.double(), faces)).abs()
    kept = (each >= share * each.sum())[part]
    number = kept.long().cumsum(0) - 1
    return vertices[kept], number[faces[kept[faces[:, 0]]]]


def parts(count: int, faces: Tensor) -> Tensor:
    """The connected part of each of ``count`` vertices, (V,), by the lowest of its vertices."""
    part = torch.arange(count)
    while True:
        lowest = part[faces].amin(1).repeat_interleave(3)
        lower = part.scatter_reduce(0, faces.flatten(), lowest, "amin")
        lower = lower[lower]  # a leap to what the lowest one knows: logarithmic, not as many steps as the part is long
        if torch.equal(lower, part):
            return part
        part = lower


def outward(vertices: Tensor, faces: Tensor) -> Tensor:
    """Unit normals (V, 3) at the vertices: the mean of the faces around, by their area."""
    a, b, c = vertices[faces].unbind(1)
    normal = torch.linalg.cross(b - a, c - a).repeat_interleave(3, 0)
    return torch.nn.functional.normalize(torch.zeros_like(vertices).index_add(0, faces.flatten(), normal), dim=-1)


def colours(field: Field, points: Tensor, chunk: int) -> Tensor:
    """Colour (N, 3) in [0, 1] of the field at points (N, 3), on the CPU in float32."""
    like = next(field.parameters(), torch.zeros(()))
    found = [field.colour(field.density(piece.to(like))[1]) for piece in torch.split(points, chunk)]
    return torch.cat(found).float().cpu().clamp(0, 1)


def _volumes(vertices: Tensor, faces: Tensor) -> Tensor:
    """Signed volume of the tetrahedron of each face and the origin, (F,).

    Equation MESH-2: the sum over a closed surface of a . (b x c) / 6 is the volume inside.
    """
    a, b, c = vertices[faces].unbind(1)
    volumes: Tensor = (a * torch.linalg.cross(b, c)).sum(-1) / 6
    return volumes
