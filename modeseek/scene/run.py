"""Text to 3D: a run on disk that drives a radiance field; resumed bit for bit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from modeseek.config import from_yaml, to_yaml
from modeseek.denoisers.base import Cond
from modeseek.descent import Descent, absolute, build_prior
from modeseek.errors import UsageError
from modeseek.estimators import Estimator
from modeseek.generators import Encoded
from modeseek.generators.nerf import NeRF
from modeseek.jobs import Job
from modeseek.pictures import animation, png, thinned
from modeseek.priors import Prior
from modeseek.randomness import Streams
from modeseek.runs import Run, free_path, refuse_existing, slug, write_atomic
from modeseek.scene.build import build_gradient, build_optimiser, build_prompts, build_scene
from modeseek.scene.config import SceneConfig, resolve_scene
from modeseek.scene.files import keep_snapshot
from modeseek.scene.outputs import walk, write_outputs
from modeseek.scene.turntables import strip

STRIP = 6  # views in the pictures over time


@dataclass
class TextToScene(Descent):
    """A run in progress.

    Attributes:
        config: resolved.
        nerf: the field and how it is seen.
    """

    config: SceneConfig
    nerf: NeRF

    @classmethod
    def start(cls, config: SceneConfig) -> TextToScene:
        """A new run: everything is built and checked before the directory is made.

        Raises:
            UsageError, PriorError, RunError: see the builders.
        """
        config = resolve_scene(config)
        if config.out is not None:
            refuse_existing(config.out, config.overwrite)  # now, before a model is loaded for nothing
        out = config.out or free_path(Path("modeseek-runs"), f"{slug(config.prompt)}-scene-{config.method}")
        built = cls._build(config)
        # the size is kept, so that a run can be viewed and exported without its model
        config = replace(config, out=out, prior=absolute(config.prior), size=built[1].size)
        run = Run.create(out, to_yaml(config), overwrite=config.overwrite)
        return cls._assemble(config, run, *built)

    @classmethod
    def resume(cls, path: Path) -> TextToScene:
        """A run as its last checkpoint left it; from the start if it has none.

        Raises:
            RunError: if the folder is no run or its checkpoint does not fit.
        """
        run = Run.open(path)
        config = resolve_scene(from_yaml(run.config(), str(path / "config.yaml"), SceneConfig))
        self = cls._assemble(config, run, *cls._build(config))
        found = run.load()
        if found is not None:
            self.job.restore(*found)
        run.cut_back(self.job.progress.step)
        return self

    @staticmethod
    def _build(config: SceneConfig) -> tuple[Prior, NeRF, Estimator, Any]:
        if config.threads:
            torch.set_num_threads(config.threads)
        prior = build_prior(config)
        size = config.size or prior.image_size
        if size % prior.multiple:
            raise UsageError(f"size must be a multiple of {prior.multiple}, got {size}")
        return prior, build_scene(config, size), build_gradient(config, prior), build_prompts(config, prior)

    @classmethod
    def _assemble(
        cls, config: SceneConfig, run: Run, prior: Prior, nerf: NeRF, estimator: Estimator, cond: Any
    ) -> TextToScene:
        pictures = config.loss == "image"
        job = Job(
            run=run,
            generator=nerf,
            rendered=nerf if pictures else Encoded(nerf, prior.encode, posterior=config.posterior),
            estimator=estimator,
            optimiser=build_optimiser(config, nerf),
            cond=cond,
            rng=Streams.for_batch(config.seed, config.scene.views),
            steps=config.settings.steps,
            refresh_every=config.settings.refresh_every,
            keep_picture=lambda step: self._keep(step),
            picture_every=config.picture_every,
            checkpoint_every=config.checkpoint_every,
            marks={"prior": prior.fingerprint},
        )
        self = cls(config, prior, job, nerf)
        return self

    @property
    def example(self) -> Cond:
        """That of the prompt, whatever the view."""
        return self.prior.encode_prompt([self.config.prompt])

    def advance(self, *, bar: Any = None, stop_after: int | None = None) -> bool:
        """Run to the end, or until Ctrl-C, or for ``stop_after`` steps; save; tell whether the end was reached."""
        if not self.job.advance(bar=bar, stop_after=stop_after):
            return False
        data, suffix = animation(thinned(self.run.pictures()))
        write_atomic(self.run.path / f"evolution{suffix}", data)
        write_outputs(self.config, self.nerf, self.run.path)
        return True

    def _keep(self, step: int) -> None:
        self.run.picture(step, png(strip(walk(self.config, self.nerf, STRIP).image)))
        every, before = max(1, self.settings.steps // self.config.snapshots), step - self.config.picture_every
        if step in (0, self.settings.steps) or step // every > before // every:  # the first picture of its share
            keep_snapshot(self.config, self.nerf.field, self.run.path, step)
