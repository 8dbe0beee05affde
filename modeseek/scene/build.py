"""A configuration becomes a field, its renderers, cameras, prompts and an estimator."""

from __future__ import annotations

from collections.abc import Callable

import torch

from modeseek.cameras import Cameras, Orbit
from modeseek.denoisers.base import Cond, Denoiser, repeat_cond
from modeseek.descent import INIT_STEP, build_auxiliary, build_estimator, build_guided
from modeseek.estimators import Estimator
from modeseek.generators.nerf import (
    Background,
    DirectionBackground,
    HashGrid,
    NeRF,
    OccupancyGrid,
    PlainBackground,
    RadianceField,
    Regularisers,
    Renderer,
    Stage,
    Triplane,
)
from modeseek.guidance import Packed, PerpNeg, Unpacked, pack
from modeseek.priors import Prior
from modeseek.priors.views import PerpNegPrompts, ViewPrompts, spherical
from modeseek.randomness import Streams
from modeseek.scene.config import SceneConfig

SHORT = 2000  # steps of a run in which the occupancy grid forgets quickly
NETWORK, BACKGROUND = -1, -2  # branches of the streams of initial weights
VIEW = 4  # what VSD's LoRA sees of a camera: ``spherical``


def build_field(config: SceneConfig) -> RadianceField:
    """The configured field, drawn from the run's seed."""
    scene, streams = config.scene, Streams(config.seed, step=INIT_STEP)
    encoding: HashGrid | Triplane
    if scene.encoding == "triplane":
        encoding = Triplane(streams, resolution=config.plane_resolution, features=config.plane_features)
    else:
        encoding = HashGrid(
            streams,
            levels=config.levels,
            features=config.level_features,
            table=config.table,
            base=config.base,
            growth=config.growth,
        )
    return RadianceField(
        encoding,
        streams.branch(NETWORK),
        width=scene.width,
        layers=scene.layers,
        blob_radius=config.ball,
        background=_background(config, streams.branch(BACKGROUND)),
    )


def _background(config: SceneConfig, streams: Streams) -> Background:
    if config.scene.backdrop == "mlp":
        return DirectionBackground(streams)
    return PlainBackground() if config.scene.backdrop == "white" else PlainBackground((0.5, 0.5, 0.5), learned=True)


def build_stages(config: SceneConfig, size: int) -> tuple[Stage, ...]:
    """The coarse and the fine part of a run of pictures of a size, on one field."""
    scene, field = config.scene, build_field(config)
    grid = _occupancy(config) if config.occupancy else None

    def stage(first: int, side: int, samples: int) -> Stage:
        renderer = Renderer(
            field,
            samples=samples,
            importance=scene.importance,
            chunk=config.chunk,
            occupancy=grid,
            recompute=config.recompute,
            backend=config.backend,
        )
        return Stage(first, side or size, renderer)

    fine = stage(round(scene.coarse * config.settings.steps), scene.rendered, scene.samples)
    return (stage(0, scene.rendered_start, scene.samples_start), fine) if fine.first else (fine,)


def _occupancy(config: SceneConfig) -> OccupancyGrid:
    """NGP's numbers, but quicker to forget in a short run: with them it would spend most steps on empty space."""
    steps = config.settings.steps
    if steps > SHORT:
        return OccupancyGrid(config.occupancy)
    return OccupancyGrid(config.occupancy, every=8, decay=0.7, warmup=steps // 8, parts=1)


def build_scene(config: SceneConfig, size: int) -> NeRF:
    """The configured generator of pictures of a size, on the configured device."""
    scene = config.scene
    sizes = (scene.sparsity, scene.opaque, scene.orientation, scene.smoothness, config.distortion)
    weights = Regularisers(*sizes)
    nerf = NeRF(
        build_stages(config, size),
        Orbit(scene.elevation, config.azimuth, scene.distance, scene.fov),
        size=size,
        regularisers=weights if max(sizes) > 0 else None,
        hold=config.settings.refresh_every,
    )
    return nerf.to(torch.device(config.device))


def build_optimiser(config: SceneConfig, nerf: NeRF) -> torch.optim.Optimizer:
    """Adam with threestudio's betas; the background at a tenth of the rate, so that it does not paint the object."""
    lr = config.settings.lr
    behind = [p for name, p in nerf.named_parameters() if ".behind." in name]
    ids = {id(p) for p in behind}
    groups = [{"params": [p for p in nerf.parameters() if id(p) not in ids], "lr": lr}]
    groups += [{"params": behind, "lr": lr / 10}] if behind else []
    return torch.optim.Adam(groups, betas=(0.9, 0.99), eps=1e-15)


def build_prompts(config: SceneConfig, prior: Prior) -> Callable[[Cameras], Cond]:
    """From cameras to the condition: by their direction, with what perp-neg and VSD's LoRA want beside it."""
    seen = spherical if config.method == "vsd" else None
    if config.scene.view_prompts:
        prompts = ViewPrompts(prior.encode_prompt, config.prompt, view=seen)
        if config.perp_neg:
            pushed = PerpNegPrompts(prompts)
            return lambda cameras: pushed(cameras.direction)
        return lambda cameras: prompts(cameras.direction)
    cond = prior.encode_prompt([config.prompt])
    return lambda cameras: pack(
        Packed(repeat_cond(cond, len(cameras)), view=None if seen is None else seen(cameras.direction))
    )


def build_gradient(config: SceneConfig, prior: Prior) -> Estimator:
    """The configured estimator, under perp-neg if that is wanted."""
    ordinary = build_guided(config, prior)

    def guide(scale: float) -> Denoiser:
        if config.perp_neg:
            return PerpNeg(prior.denoiser, scale, prior.encode_prompt([config.negative]))
        return Unpacked(ordinary(scale)) if config.method == "vsd" else ordinary(scale)

    return build_estimator(
        config,
        prior,
        guide,
        lambda: build_auxiliary(config, prior, cond=prior.encode_prompt([config.prompt]), view_size=VIEW),
    )
