"""Text to image: a configuration becomes a prior, a generator, an estimator and a run on disk."""

from __future__ import annotations

import dataclasses
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from modeseek.config import GradientConfig, ImageConfig, Settings, from_yaml, product_options, resolve, times, to_yaml
from modeseek.denoisers.base import Cond, Denoiser, check_level, repeat_cond
from modeseek.denoisers.diffusers import VPDenoiser
from modeseek.denoisers.flow import FlowDenoiser
from modeseek.distillation import Progress
from modeseek.errors import PriorError, UsageError
from modeseek.estimators import MSD, SDI, SDS, VSD, Estimator, ImageSpace, Trained, Trains
from modeseek.estimators.trained import Target
from modeseek.generators import Encoded, ImageMLP, Latents, Pixels
from modeseek.jobs import Job
from modeseek.methods import PRODUCT_SAMPLERS
from modeseek.pictures import animation, enlarge, png, read_picture, sheet
from modeseek.priors import Economy, Prior, open_prior
from modeseek.priors.lora import LoRA
from modeseek.randomness import Streams
from modeseek.runs import Run, free_path, refuse_existing, write_atomic
from modeseek.schedules import Bandwidth
from modeseek.shipped import POCKET

INIT_STEP = -1  # the streams' step from which initial weights are drawn


def build_prior(config: GradientConfig) -> Prior:
    """The configured model."""
    source = POCKET if config.prior == "pocket" else config.prior
    economy = Economy(**{f.name: getattr(config, f.name) for f in dataclasses.fields(Economy)})
    device = _device(config.device)
    if device.type == "cuda":  # else the same run gives other bits
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    return open_prior(source, device=device, dtype=getattr(torch, config.dtype), economy=economy)


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"device must be one that torch knows, got {name!r}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device must be present; torch sees no CUDA device for {name!r}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"device must be present; torch sees {torch.cuda.device_count()} CUDA device(s), got {name!r}")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError(f"device must be present; torch sees no MPS device for {name!r}")
    return device


Guided = Callable[[float], Denoiser]  # guidance scale -> guided denoiser


def build_guided(config: GradientConfig, prior: Prior) -> Guided:
    """Classifier-free guidance of a prior, as configured but for its scale."""
    interval = (config.guidance_low, config.guidance_high)
    limited = None if interval == (0.0, float("inf")) else interval
    return lambda scale: prior.guided(scale, config.negative, interval=limited)


def build_estimator(
    config: GradientConfig, prior: Prior, guide: Guided | None = None, auxiliary: Callable[[], Trained] | None = None
) -> Estimator:
    """The configured estimator on a prior.

    Args:
        config: of the run.
        prior: the model.
        guide: another guidance than ``build_guided``'s.
        auxiliary: of vsd, another than ``build_auxiliary``'s.
    """
    settings, guide = config.settings, guide or build_guided(config, prior)
    guided = guide(settings.guidance)
    if config.method == "sds":
        sds = SDS(guided, prior.table, time=times(config), weighting=settings.weighting)
        images = ImageSpace(sds, prior.encode, prior.decode, posterior=config.posterior)
        return sds if config.loss == "latent" else images
    if config.method == "vsd":
        learner = auxiliary() if auxiliary else build_auxiliary(config, prior)
        return VSD(guided, prior.table, learner, time=times(config), weighting=settings.weighting)
    if config.method == "sdi":
        if config.pairing == "public" and isinstance(prior.denoiser, FlowDenoiser):
            raise PriorError(f"pairing public must have a variance-preserving model; {prior.name} is a flow model")
        return SDI(
            guided,
            prior.table,
            inverse=guide(settings.inversion_guidance),
            time=times(config),
            weighting=settings.weighting,
            pairing=config.pairing,
            fresh=config.inversion_noise,
            inversion_steps=config.inversion_steps,
            eta=config.inversion_eta,
            sigma_start=config.inversion_start,
            max_eps=settings.max_eps,
        )
    if settings.sampler == "posterior_mean":
        check_level(prior.denoiser, settings.bandwidth_start, "bandwidth_start for posterior_mean")
    sampler = PRODUCT_SAMPLERS[settings.sampler].load()
    built = sampler.build(prior.grid(settings.sample_steps), product_options(config), prior.denoiser)
    built.check(settings.bandwidth_end)
    length = settings.last_target + 1  # the last target is drawn at the end of the schedule
    bandwidth = Bandwidth(settings.bandwidth_start, settings.bandwidth_end, length, settings.bandwidth_shape)
    return MSD(guided, built, bandwidth, n_samples=config.n_samples)


def build_auxiliary(config: GradientConfig, prior: Prior, *, cond: Cond = None, view_size: int = 0) -> Trained:
    """VSD's LoRA on a prior, drawn from the run's seed, and how it learns: in the model's own parametrisation.

    Args:
        config: of the run.
        prior: the model.
        cond: see ``LoRA``.
        view_size: see ``LoRA``.

    Raises:
        PriorError: if the model has nothing that a LoRA can change, or peft is not installed.
    """
    try:
        lora = LoRA(prior.denoiser, rank=config.lora_rank, seed=config.seed, cond=cond, view_size=view_size)
    except PriorError as error:
        raise PriorError(f"method vsd must be one that the model supports; for {prior.name}, {error}") from error
    velocity = isinstance(prior.denoiser, VPDenoiser) and prior.denoiser.prediction == "v_prediction"
    target: Target = "velocity" if velocity else "epsilon"
    return Trained(lora, lora, prior.table, lr=config.lora_lr, steps=config.lora_steps, target=target)


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


def absolute(prior: str) -> str:
    """A model's name, or its path as it holds from any folder, so that a run can be resumed from there."""
    return str(Path(prior).resolve()) if prior != "pocket" and Path(prior).exists() else prior


def slug(text: str) -> str:
    """A prompt as a short file name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40] or "prompt"


@dataclass
class TextToImage:
    """A run in progress.

    Attributes:
        config: resolved.
        settings: what it takes from its preset.
        prior: the model.
        picture: the generator of images (of latents for ``generator: latents``).
        job: the loop and its directory.
    """

    config: ImageConfig
    settings: Settings
    prior: Prior
    picture: nn.Module
    job: Job

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
        self = cls(config, settings, prior, picture, job)
        return self

    @property
    def run(self) -> Run:
        """The directory."""
        return self.job.run

    @property
    def progress(self) -> Progress:
        """Where the loop stands."""
        return self.job.progress

    def nfe(self) -> int:
        """Evaluations per picture that the whole run takes."""
        return self.job.nfe()

    def trained(self) -> int:
        """Forward and backward passes per picture with which vsd trains its LoRA; ``nfe`` does not count them."""
        return self.settings.steps * self.config.lora_steps if isinstance(self.job.estimator, Trains) else 0

    def seconds(self) -> float:
        """What the evaluations that are left will take, about, by a call measured now; rendering is not counted."""
        assert not callable(self.job.cond)
        per_call = seconds_per_evaluation(self.prior, self.config.size, len(self.job.rng), self.job.cond)
        return self.nfe() * (1 - self.progress.step / self.settings.steps) * per_call

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


def seconds_per_evaluation(prior: Prior, size: int | None, batch: int, cond: Cond) -> float:
    """Measured now: one network call for the whole batch, after one to warm up."""
    side = (size or prior.image_size) // prior.factor
    z = torch.zeros(batch, prior.latent_shape[0], side, side, device=prior.device)
    for _ in range(2):
        began = time.perf_counter()
        with torch.no_grad():
            float(prior.denoiser(z, 1.0, cond).sum())  # waits for the device
    return time.perf_counter() - began


def thinned(pictures: list[Path], most: int = 100) -> list[Path]:
    """At most ``most`` pictures, evenly, the first and the last among them: an animation is made in memory."""
    if len(pictures) <= most:
        return pictures
    return [pictures[round(k * (len(pictures) - 1) / (most - 1))] for k in range(most)]


def peak_memory() -> float:
    """Largest resident memory of this process so far, in MiB; 0 where the system does not tell (Windows)."""
    try:
        import resource
    except ImportError:
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def device_memory() -> float:
    """Largest memory that torch has had allocated on a CUDA device so far, in MiB; 0 without one."""
    return torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else 0.0
