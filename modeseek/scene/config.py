"""What ``modeseek scene`` is told, and its presets. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from math import inf, sqrt
from typing import Any, ClassVar, Literal

import tyro

from modeseek.config import (
    DEFAULT,
    METHOD_PRESETS,
    GradientConfig,
    MethodPresets,
    Preset,
    check_counts,
    check_positive,
    check_prompts,
    resolve,
)
from modeseek.errors import UsageError
from modeseek.methods import EstimatorName

Encoding = Literal["triplane", "hash-grid"]
Backdrop = Literal["white", "colour", "mlp"]
Backend = Literal["torch", "nerfacc"]
Range = tuple[float, float]
OUTSIDE = sqrt(3)  # of the sphere around the cube [-1, 1]^3 that holds the object


@dataclass(frozen=True)
class SceneSettings:
    """The options that a preset sets for a scene, all of them known."""

    encoding: Encoding
    width: int
    layers: int
    backdrop: Backdrop
    views: int
    rendered: int  # 0: as large as the picture
    rendered_start: int
    samples: int
    samples_start: int
    importance: int
    coarse: float
    elevation: Range
    distance: Range
    fov: Range
    view_prompts: bool
    sparsity: float
    opaque: float
    orientation: float
    smoothness: float


SCENES: Mapping[Preset, SceneSettings] = {
    "quick": SceneSettings(
        encoding="triplane",
        width=32,
        layers=1,
        backdrop="white",  # the shipped model's pictures are on white
        views=4,
        rendered=0,
        rendered_start=32,
        samples=40,
        samples_start=24,
        importance=0,
        coarse=0.3,
        elevation=(0.0, 25.0),
        distance=(3.2, 3.2),
        fov=(40.0, 40.0),
        view_prompts=False,  # the shipped model knows no views
        sparsity=100.0,  # white mist before white costs nothing else
        opaque=0.0,
        orientation=0.0,
        smoothness=1000.0,  # without it a surface is a stack of streaks
    ),
    "paper": SceneSettings(
        encoding="hash-grid",
        width=64,
        layers=2,
        backdrop="mlp",
        views=1,
        rendered=0,
        rendered_start=0,
        samples=512,  # threestudio's, as what follows
        samples_start=512,
        importance=0,
        coarse=0.0,
        elevation=(-10.0, 45.0),
        distance=(1.8, 2.4),  # 1.2 times threestudio's, so that every camera is outside of the cube
        fov=(40.0, 70.0),
        view_prompts=True,
        sparsity=1.0,
        opaque=0.0,
        orientation=10.0,
        smoothness=0.0,
    ),
}


def _presets() -> MethodPresets:
    """Those of images, with the lengths that scenes need."""
    made: dict[EstimatorName, dict[Preset, Any]] = {}
    for method, presets in METHOD_PRESETS.items():
        made[method] = {
            "quick": replace(presets["quick"], **QUICK[method]),
            "paper": replace(presets["paper"], steps=7000),  # the paper, section 5.3; Adam 1e-2
        }
    return made


# of a step two evaluations a view, whatever the method: a target of msd serves as many steps as it has pairs of them
QUICK: Mapping[EstimatorName, Mapping[str, Any]] = {
    "msd": {"steps": 240, "refresh_every": 4, "sample_steps": 4, "lr": 2e-2},
    "sdi": {"steps": 240, "refresh_every": 8, "lr": 2e-2},
    "sds": {"steps": 240, "lr": 2e-2},
    "vsd": {"steps": 160, "lr": 2e-2},
}


@dataclass(frozen=True)
class SceneConfig(GradientConfig):
    """Drive a radiance field to a mode of a text-to-image model, from random views."""

    presets: ClassVar[MethodPresets] = _presets()

    prompt: tyro.conf.Positional[str]
    """Of the object."""
    encoding: Encoding | None = None
    """What holds the field: three planes, or a multiresolution hash grid."""
    plane_resolution: tuple[int, ...] = (16, 64)
    """Vertices along a side of the planes, of each scale,"""
    plane_features: int = 8
    """and features of a vertex, in each scale."""
    levels: int = 16
    """Levels of the hash grid,"""
    level_features: int = 2
    """features of a level,"""
    table: int = 2**19
    """entries of a level's table,"""
    base: int = 16
    """cells along a side of the coarsest level,"""
    growth: float = 1.447269237440378
    """and from one level to the next."""
    width: int | None = None
    """Width of the field's hidden layers,"""
    layers: int | None = None
    """and their number."""
    ball: float = 0.5
    """Radius of the soft ball that the density starts as; half the cube's side is 1."""
    backdrop: Backdrop | None = None
    """What is behind the object: white, a colour that is learned, or a network of the view's direction."""
    views: int | None = None
    """Cameras of a step."""
    rendered: int | None = None
    """Side at which steps render, in pixels; 0 is the picture's own."""
    rendered_start: int | None = None
    """The same in the coarse part of the run; 0 is the picture's own."""
    samples: int | None = None
    """Samples along a ray."""
    samples_start: int | None = None
    """The same in the coarse part of the run."""
    importance: int | None = None
    """Samples along a ray that are drawn where the first ones found something, besides them."""
    coarse: float | None = None
    """Share of the steps that is the coarse part."""
    elevation: Range | None = None
    """Cameras stand between these elevations, degrees; 90 is straight above,"""
    azimuth: Range = (-180.0, 180.0)
    """these azimuths, degrees; 0 is in front, 90 at the object's left,"""
    distance: Range | None = None
    """and these distances from its middle, in halves of its cube's side;"""
    fov: Range | None = None
    """with vertical fields of view between these, degrees."""
    view_prompts: bool | None = None
    """Append "front view" and its like to the prompt, by the camera."""
    perp_neg: bool = False
    """Push away from the other views' prompts (perp-neg); it takes four evaluations where guidance takes two."""
    sparsity: float | None = None
    """Weight of the regulariser that wants little of the picture covered,"""
    opaque: float | None = None
    """of the one that wants a pixel covered wholly or not at all,"""
    orientation: float | None = None
    """of the one against surfaces that turn away from the camera,"""
    smoothness: float | None = None
    """and of the one that wants neighbouring normals alike. Each is a mean over views."""
    distortion: float = 0.0
    """Weight of the regulariser that wants what a ray meets in one place."""
    occupancy: int = 32
    """Cells along a side of the grid that tells empty space; 0 does without."""
    chunk: int = 2**16
    """Points of the field that are evaluated at once, which bounds the memory."""
    recompute: bool = False
    """Compute a chunk's activations again for the gradient instead of keeping them."""
    backend: Backend = "torch"
    """What adds up the samples of a ray: torch, or nerfacc where it is installed, on CUDA."""
    turntable: int = 60
    """Frames of the turntable at the end."""
    snapshots: int = 8
    """Fields kept over the run, for modeseek view."""
    picture_every: int = field(default=20, kw_only=True)
    """Steps between pictures."""

    def __post_init__(self) -> None:
        check_prompts([self.prompt])
        _check_counts(self)
        super().__post_init__()
        _check_scene(self)

    @property
    def scene(self) -> SceneSettings:
        """The preset's settings of the scene, with what the configuration says put in."""
        given = {f.name: getattr(self, f.name) for f in fields(SceneSettings)}
        preset = SCENES[self.preset or DEFAULT]
        if self.prior != "pocket":  # it knows views, and its pictures have something behind the object
            preset = replace(preset, view_prompts=True, backdrop="mlp")
        return replace(preset, **{k: v for k, v in given.items() if v is not None})


def resolve_scene(config: SceneConfig) -> SceneConfig:
    """The configuration with every unset option taken from its preset."""
    return replace(resolve(config), **asdict(config.scene))


def _check_counts(c: SceneConfig) -> None:
    names: tuple[str, ...] = ("plane_features", "levels", "level_features", "table", "base")
    names += ("width", "layers", "views", "samples", "samples_start", "chunk", "turntable", "snapshots")
    check_counts(c, names)
    check_positive(c, ("growth", "ball"))
    if not c.plane_resolution or min(c.plane_resolution) < 2:
        raise UsageError(f"plane_resolution must be at least 2 in every scale, got {c.plane_resolution}")
    for name in (
        "rendered",
        "rendered_start",
        "importance",
        "occupancy",
        "sparsity",
        "opaque",
        "orientation",
        "distortion",
    ):
        value = getattr(c, name)
        if value is not None and not 0 <= value < inf:
            raise UsageError(f"{name} must be at least 0 and finite, got {value}")


def _check_scene(c: SceneConfig) -> None:
    """Refuse a scene that cannot be rendered."""
    scene = c.scene
    if not 0 <= scene.smoothness < inf:
        raise UsageError(f"smoothness must be at least 0 and finite, got {scene.smoothness}")
    if not 0 <= scene.coarse <= 1:
        raise UsageError(f"coarse must be a share between 0 and 1, got {scene.coarse}")
    if not -90 <= scene.elevation[0] <= scene.elevation[1] <= 90:
        raise UsageError(f"elevation must be a range within -90 to 90 degrees, got {scene.elevation}")
    if not -inf < c.azimuth[0] <= c.azimuth[1] < inf:
        raise UsageError(f"azimuth must be a range from low to high, got {c.azimuth}")
    if not OUTSIDE < scene.distance[0] <= scene.distance[1] < inf:
        raise UsageError(
            f"distance must be a range above {OUTSIDE:.2f}, so that no camera is inside the cube that holds the "
            f"object, got {scene.distance}"
        )
    if not 0 < scene.fov[0] <= scene.fov[1] < 180:
        raise UsageError(f"fov must be a range between 0 and 180 degrees, got {scene.fov}")
    if c.perp_neg and not scene.view_prompts:
        raise UsageError("perp_neg must have the prompts of views, got view_prompts false")
    if c.loss == "image" and c.perp_neg:
        raise UsageError("loss image must have ordinary guidance, got perp_neg")
