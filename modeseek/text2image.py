"""Text to image: a configuration becomes a prior, a generator, an estimator and a run on disk."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from modeseek.config import ImageConfig, from_yaml, resolve, to_yaml
from modeseek.denoisers.base import Cond, repeat_cond
from modeseek.descent import INIT_STEP, Descent, absolute, build_estimator, build_prior
from modeseek.errors import UsageError
from modeseek.estimators import Estimator
from modeseek.generators import Encoded, ImageMLP, Latents, Pixels
from modeseek.jobs import Job
from modeseek.pictures import animation, enlarge, png, read_picture, sheet, thinned
from modeseek.priors import Prior
from modeseek.randomness import Streams
from modeseek.runs import Run, free_path, refuse_existing, slug, write_atomic


def pictures(config: ImageConfig) -> Streams:
    """One stream for each picture: its id is the prompt's number, or (prompt, particle) where there are several."""
    streams = Streams.for_batch(config.seed, len(config.prompts))
    return streams if config.particles == 1 else streams.repeat(config.particles)


def build_rendering(config: ImageConfig, prior: Prior, picture: nn.Module) -> nn.Module:
    """What the configured estimator sees of a picture: the picture itself, or its latent."""
    if config.generator == "latents" or config.loss == "image":
        return picture
    return Encoded(picture, prior.encode, posterior=config.posterior)


def build_generator(config: ImageConfig, prior: Prior, streams: Streams | None = None) -> nn.Module:
    """The configured picture, on the prior's device; renders images, or latents for ``generator: latents``.

    Args:
        config: of the run.
        prior: the model.
        streams: one for each picture; ``pictures(config)`` if not given.
    """
    size = config.size or prior.image_size
    if size % prior.multiple:
        raise UsageError(f"size must be a multiple of {prior.multiple}, got {size}")
    streams = (streams or pictures(config)).at(INIT_STEP)
    start = None if config.init is None else read_picture(config.init, size).expand(len(streams), 3, size, size)
    generator: nn.Module
    if config.generator == "mlp":
        generator = ImageMLP(
            streams,
            size,
            features=config.mlp_features,
            bandwidth=config.mlp_bandwidth or size / 20,  # more fits noise that the encoder does not see
            width=config.mlp_width,
            layers=config.mlp_layers,
        )
        if start is not None:
            fit(generator.to(prior.device), start.to(prior.device))
    elif config.generator == "pixels":
        generator = Pixels(0.5 + 0.05 * streams.normal((len(streams), 3, size, size)) if start is None else start)
    else:
        shape = (len(streams), prior.latent_shape[0], size // prior.factor, size // prior.factor)
        with torch.no_grad():
            generator = Latents(streams.normal(shape) if start is None else prior.encode(start.to(prior.device)).cpu())
    return generator.to(prior.device)


def fit(generator: nn.Module, image: Tensor, steps: int = 300, lr: float = 1e-2) -> None:
    """Fit a generator of images to ``image`` (B, 3, H, W) by least squares, in place."""
    optimiser = torch.optim.Adam(generator.parameters(), lr=lr)
    for _ in range(steps):
        optimiser.zero_grad()
        (generator() - image).square().sum().backward()
        optimiser.step()


@dataclass
class TextToImage(Descent):
    """A run in progress.

    Attributes:
        config: resolved.
        picture: the generator of images (of latents for ``generator: latents``).
    """

    config: ImageConfig
    picture: nn.Module

    @classmethod
    def start(cls, config: ImageConfig) -> TextToImage:
        """A new run: everything is built and checked before the directory is made.

        Raises:
            UsageError, PriorError, RunError: see the builders.
        """
        config = resolve(config)
        if config.out is not None:
            refuse_existing(config.out, config.overwrite)  # now, before a model is loaded for nothing
        if config.init is not None:
            read_picture(config.init, 1)
        out = config.out or free_path(Path("modeseek-runs"), f"{slug(config.prompts[0])}-{config.method}")
        built = cls._build(config)
        kept = dataclasses.replace(
            config, out=out, prior=absolute(config.prior), init=config.init and config.init.resolve()
        )
        run = Run.create(out, to_yaml(kept), overwrite=config.overwrite)
        return cls._assemble(config, run, *built)

    @classmethod
    def resume(cls, path: Path) -> TextToImage:
        """A run as its last checkpoint left it; from the start if it has none.

        Raises:
            RunError: if the folder is no run or its checkpoint does not fit.
        """
        run = Run.open(path)
        config = resolve(from_yaml(run.config(), str(path / "config.yaml"), ImageConfig))
        found = run.load()
        # a checkpoint has what the picture to start from gave
        self = cls._assemble(config, run, *cls._build(dataclasses.replace(config, init=None) if found else config))
        if found is not None:
            self.job.restore(*found)
        run.cut_back(self.job.progress.step)
        return self

    @staticmethod
    def _build(config: ImageConfig) -> tuple[Prior, nn.Module, Estimator, Cond]:
        if config.threads:
            torch.set_num_threads(config.threads)
        prior = build_prior(config)
        cond = repeat_cond(prior.encode_prompt(config.prompts), config.particles)
        return prior, build_generator(config, prior), build_estimator(config, prior), cond

    @classmethod
    def _assemble(
        cls, config: ImageConfig, run: Run, prior: Prior, picture: nn.Module, estimator: Estimator, cond: Cond
    ) -> TextToImage:
        settings = config.settings
        job = Job(
            run=run,
            generator=picture,
            rendered=build_rendering(config, prior, picture),
            estimator=estimator,
            optimiser=torch.optim.Adam(picture.parameters(), lr=settings.lr),
            cond=cond,
            rng=pictures(config),
            steps=settings.steps,
            refresh_every=settings.refresh_every,
            keep_picture=lambda step: run.picture(step, png(sheet(self.images()))),
            picture_every=config.picture_every,
            checkpoint_every=config.checkpoint_every,
            marks={"prior": prior.fingerprint},
        )
        self = cls(config, prior, job, picture)
        return self

    @property
    def example(self) -> Cond:
        """The run's own condition."""
        assert not callable(self.job.cond)
        return self.job.cond

    def advance(self, *, bar: Any = None, stop_after: int | None = None) -> bool:
        """Run to the end, or until Ctrl-C, or for ``stop_after`` steps; save; tell whether the end was reached."""
        if not self.job.advance(bar=bar, stop_after=stop_after):
            return False
        self._finish()
        return True

    def images(self) -> Tensor:
        """The pictures as they stand, (B, 3, H, W) in [0, 1]."""
        with torch.no_grad():
            out: Tensor = self.picture()
            return self.prior.decode(out) if self.config.generator == "latents" else out

    def _finish(self) -> None:
        images, path = self.images(), self.run.path
        write_atomic(path / "final.png", png(sheet(images)))
        if len(images) > 1:
            for i, image in enumerate(images):
                prompt = self.config.prompts[i // self.config.particles]
                write_atomic(path / f"final-{i:02d}-{slug(prompt)}.png", png(image))
        if isinstance(self.picture, ImageMLP):
            with torch.no_grad():
                large = sheet(self.picture.at(4 * images.shape[-1]))
        else:
            large = enlarge(sheet(images), 4)
        write_atomic(path / "final-large.png", png(large))
        data, suffix = animation(thinned(self.run.pictures()))
        write_atomic(path / f"evolution{suffix}", data)
