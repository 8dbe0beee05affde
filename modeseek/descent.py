"""What runs along a model's gradient share: opening the model, building the estimator, the run in progress."""

from __future__ import annotations

import dataclasses
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from modeseek.config import GradientConfig, Settings, product_options, times
from modeseek.denoisers.base import Cond, Denoiser, check_level
from modeseek.denoisers.diffusers import VPDenoiser
from modeseek.denoisers.flow import FlowDenoiser
from modeseek.distillation import Progress
from modeseek.errors import PriorError, UsageError
from modeseek.estimators import MSD, SDI, SDS, VSD, Estimator, ImageSpace, Trained, Trains
from modeseek.estimators.trained import Target
from modeseek.jobs import Job
from modeseek.methods import PRODUCT_SAMPLERS
from modeseek.priors import Economy, Prior, open_prior
from modeseek.priors.lora import LoRA
from modeseek.runs import Run
from modeseek.schedules import Bandwidth
from modeseek.shipped import POCKET

INIT_STEP = -1  # the streams' step from which initial weights are drawn


def build_prior(config: GradientConfig) -> Prior:
    """The configured model."""
    source = POCKET if config.prior == "pocket" else config.prior
    economy = Economy(**{f.name: getattr(config, f.name) for f in dataclasses.fields(Economy)})
    device = open_device(config.device)
    if device.type == "cuda":  # else the same run gives other bits
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    return open_prior(source, device=device, dtype=getattr(torch, config.dtype), economy=economy)


def open_device(name: str) -> torch.device:
    """A device that is there.

    Raises:
        UsageError: if torch knows none of that name, or does not see it.
    """
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


def absolute(prior: str) -> str:
    """A model's name, or its path as it holds from any folder, so that a run can be resumed from there."""
    return str(Path(prior).resolve()) if prior != "pocket" and Path(prior).exists() else prior


@dataclass
class Descent(ABC):
    """A run in progress, of whatever is moved. Final classes say what they are moved from and how they end.

    Attributes:
        config: resolved.
        prior: the model.
        job: the loop and its directory.
    """

    config: GradientConfig
    prior: Prior
    job: Job

    @property
    def settings(self) -> Settings:
        """What the configuration takes from its preset."""
        return self.config.settings

    @property
    def run(self) -> Run:
        """The directory."""
        return self.job.run

    @property
    def progress(self) -> Progress:
        """Where the loop stands."""
        return self.job.progress

    def nfe(self) -> int:
        """Evaluations per sample that the whole run takes."""
        return self.job.nfe()

    def trained(self) -> int:
        """Forward and backward passes per sample with which vsd trains its LoRA; ``nfe`` does not count them."""
        return self.settings.steps * self.config.lora_steps if isinstance(self.job.estimator, Trains) else 0

    @property
    @abstractmethod
    def example(self) -> Cond:
        """A condition that the run's network can be asked with, of as many rows as samples or one."""

    def seconds(self) -> float:
        """What the evaluations that are left will take, about, by a call measured now; rendering is not counted."""
        per_call = seconds_per_evaluation(self.prior, self.config.size, len(self.job.rng), self.example)
        return self.nfe() * (1 - self.progress.step / self.settings.steps) * per_call


def seconds_per_evaluation(prior: Prior, size: int | None, batch: int, cond: Cond) -> float:
    """Measured now: one network call for the whole batch, after one to warm up."""
    side = (size or prior.image_size) // prior.factor
    z = torch.zeros(batch, prior.latent_shape[0], side, side, device=prior.device)
    for _ in range(2):
        began = time.perf_counter()
        with torch.no_grad():
            float(prior.denoiser(z, 1.0, cond).sum())  # waits for the device
    return time.perf_counter() - began


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
