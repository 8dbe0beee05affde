"""Meshes and fields as files: GLB, OBJ and PLY by trimesh, safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from modeseek.errors import UsageError
from modeseek.generators.nerf.base import Field
from modeseek.runs import write_atomic
from modeseek.scene.mesh import Mesh

Format = Literal["glb", "obj", "ply"]
# the colours hold the light already: no lamp of the viewer shall fall on them, and where it must, not as on metal
MATERIAL = {
    "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 1.0},
    "extensions": {"KHR_materials_unlit": {}},
}


def write(mesh: Mesh, path: Path, format: Format = "glb") -> None:
    """A mesh as a whole file or none, as ``encode`` makes it.

    Raises:
        UsageError: as ``encode``.
        RunError: if it cannot be written.
    """
    write_atomic(path, encode(mesh, format))


def encode(mesh: Mesh, format: Format = "glb") -> bytes:
    """A mesh with a colour for each vertex, y up, an object facing +z, in the world's units, as a file in memory.

    PLY and OBJ carry the colours of pictures (sRGB), 8 and more bits; OBJ after the positions, as MeshLab and Blender
    read them. GLB carries them linear, as glTF 2.0 (3.7.2.1) wants, in 8 bits: the darkest are coarse.

    Raises:
        UsageError: if the format is another one, the mesh has no face, or trimesh is missing.
    """
    if format not in get_args(Format):
        raise UsageError(f"a mesh's format must be one of {', '.join(get_args(Format))}, got {format!r}")
    if not len(mesh.faces):
        raise UsageError("a mesh must have at least 1 face to be written, got none")
    try:
        import trimesh
    except ImportError as error:
        raise UsageError('trimesh must be installed to write a mesh: pip install "modeseek[three-d]"') from error
    shown = linear(mesh.colours) if format == "glb" else mesh.colours
    solid = trimesh.Trimesh(
        mesh.vertices.double().numpy(),
        mesh.faces.numpy(),
        vertex_colors=(shown.clamp(0, 1) * 255).round().to(torch.uint8).numpy(),
        process=False,
    )
    options = {"tree_postprocessor": unlit} if format == "glb" else {}
    data: bytes | str = solid.export(file_type=format, **options)
    return data.encode() if isinstance(data, str) else data


def linear(colours: Tensor) -> Tensor:
    """sRGB in [0, 1] to linear light (IEC 61966-2-1)."""
    return torch.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)


def unlit(tree: dict[str, Any]) -> None:
    """Give every part of a glTF tree the material ``MATERIAL``."""
    tree["materials"] = [MATERIAL]
    tree["extensionsUsed"] = ["KHR_materials_unlit"]
    for part in tree["meshes"]:
        for primitive in part["primitives"]:
            primitive["material"] = 0


def write_field(field: Field, path: Path, metadata: Mapping[str, str]) -> None:
    """The field's parameters and buffers as safetensors, whole or not at all.

    Args:
        metadata: what is needed to build the field that they are loaded into; text by name.

    Raises:
        UsageError: if the metadata is not text, or the field has nothing to keep.
        RunError: if it cannot be written.
    """
    from safetensors.torch import save

    wrong = {k: v for k, v in metadata.items() if not (isinstance(k, str) and isinstance(v, str))}
    if wrong:
        raise UsageError(f"metadata must be text by name, got {wrong}")
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in field.state_dict().items()}
    if not tensors:
        raise UsageError("a field must have parameters to be written, got none")
    write_atomic(path, save(tensors, dict(metadata)))
