"""Turn a diffusion model into a gradient: mean-shift distillation and its baselines.

The names below are imported when they are first used, so ``import modeseek`` is as quick as ``import torch``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_WHERE = {
    "modeseek.cameras": ("Cameras", "Direction", "Orbit", "turntable"),
    "modeseek.denoisers": ("IdealDenoiser", "MixtureDenoiser", "MLPDenoiser", "ParticleScore", "PerClass"),
    "modeseek.densities": ("GaussianMixture", "PlanarSet", "open_set", "picture_density", "planar_set"),
    "modeseek.distillation": ("Progress", "Step", "distill"),
    "modeseek.errors": (
        "ModeseekError",
        "ModeseekWarning",
        "NonFiniteError",
        "PriorError",
        "RunError",
        "UnstableError",
        "UsageError",
    ),
    "modeseek.estimators": (
        "MSD",
        "SDI",
        "SDS",
        "VSD",
        "Auxiliary",
        "Estimate",
        "Estimator",
        "ImageSpace",
        "Particles",
        "Trained",
    ),
    "modeseek.generators": ("Encoded", "ImageMLP", "Latents", "Pixels", "Points", "View"),
    "modeseek.guidance": ("CFG", "Autoguidance", "LimitedInterval", "PerpNeg"),
    "modeseek.noise": ("NoiseTable", "karras_sigmas"),
    "modeseek.priors": ("Economy", "LatentPrior", "Prior", "open_prior"),
    "modeseek.priors.lora": ("LoRA",),
    "modeseek.priors.views": ("PerpNegPrompts", "ViewPrompts"),
    "modeseek.randomness": ("Streams",),
    "modeseek.samplers": ("ddim", "heun", "invert"),
    "modeseek.samplers.product": (
        "Exact",
        "Exponential",
        "ExponentialInverted",
        "Gibbs",
        "Grid",
        "PosteriorMean",
        "ProductSampler",
        "Proximal",
        "Summed",
    ),
    "modeseek.methods": ("ProductOptions",),
    "modeseek.schedules": ("Anneal", "Bandwidth", "Uniform"),
    "modeseek.shipped": ("POCKET", "POCKET_CLIP"),
}
_MODULE = {name: module for module, names in _WHERE.items() for name in names}

__all__ = sorted(_MODULE)

if TYPE_CHECKING:
    from modeseek.cameras import Cameras as Cameras
    from modeseek.cameras import Direction as Direction
    from modeseek.cameras import Orbit as Orbit
    from modeseek.cameras import turntable as turntable
    from modeseek.denoisers import IdealDenoiser as IdealDenoiser
    from modeseek.denoisers import MixtureDenoiser as MixtureDenoiser
    from modeseek.denoisers import MLPDenoiser as MLPDenoiser
    from modeseek.denoisers import ParticleScore as ParticleScore
    from modeseek.denoisers import PerClass as PerClass
    from modeseek.densities import GaussianMixture as GaussianMixture
    from modeseek.densities import PlanarSet as PlanarSet
    from modeseek.densities import open_set as open_set
    from modeseek.densities import picture_density as picture_density
    from modeseek.densities import planar_set as planar_set
    from modeseek.distillation import Progress as Progress
    from modeseek.distillation import Step as Step
    from modeseek.distillation import distill as distill
    from modeseek.errors import ModeseekError as ModeseekError
    from modeseek.errors import ModeseekWarning as ModeseekWarning
    from modeseek.errors import NonFiniteError as NonFiniteError
    from modeseek.errors import PriorError as PriorError
    from modeseek.errors import RunError as RunError
    from modeseek.errors import UnstableError as UnstableError
    from modeseek.errors import UsageError as UsageError
    from modeseek.estimators import MSD as MSD
    from modeseek.estimators import SDI as SDI
    from modeseek.estimators import SDS as SDS
    from modeseek.estimators import VSD as VSD
    from modeseek.estimators import Auxiliary as Auxiliary
    from modeseek.estimators import Estimate as Estimate
    from modeseek.estimators import Estimator as Estimator
    from modeseek.estimators import ImageSpace as ImageSpace
    from modeseek.estimators import Particles as Particles
    from modeseek.estimators import Trained as Trained
    from modeseek.generators import Encoded as Encoded
    from modeseek.generators import ImageMLP as ImageMLP
    from modeseek.generators import Latents as Latents
    from modeseek.generators import Pixels as Pixels
    from modeseek.generators import Points as Points
    from modeseek.generators import View as View
    from modeseek.guidance import CFG as CFG
    from modeseek.guidance import Autoguidance as Autoguidance
    from modeseek.guidance import LimitedInterval as LimitedInterval
    from modeseek.guidance import PerpNeg as PerpNeg
    from modeseek.methods import ProductOptions as ProductOptions
    from modeseek.noise import NoiseTable as NoiseTable
    from modeseek.noise import karras_sigmas as karras_sigmas
    from modeseek.priors import Economy as Economy
    from modeseek.priors import LatentPrior as LatentPrior
    from modeseek.priors import Prior as Prior
    from modeseek.priors import open_prior as open_prior
    from modeseek.priors.lora import LoRA as LoRA
    from modeseek.priors.views import PerpNegPrompts as PerpNegPrompts
    from modeseek.priors.views import ViewPrompts as ViewPrompts
    from modeseek.randomness import Streams as Streams
    from modeseek.samplers import ddim as ddim
    from modeseek.samplers import heun as heun
    from modeseek.samplers import invert as invert
    from modeseek.samplers.product import Exact as Exact
    from modeseek.samplers.product import Exponential as Exponential
    from modeseek.samplers.product import ExponentialInverted as ExponentialInverted
    from modeseek.samplers.product import Gibbs as Gibbs
    from modeseek.samplers.product import Grid as Grid
    from modeseek.samplers.product import PosteriorMean as PosteriorMean
    from modeseek.samplers.product import ProductSampler as ProductSampler
    from modeseek.samplers.product import Proximal as Proximal
    from modeseek.samplers.product import Summed as Summed
    from modeseek.schedules import Anneal as Anneal
    from modeseek.schedules import Bandwidth as Bandwidth
    from modeseek.schedules import Uniform as Uniform
    from modeseek.shipped import POCKET as POCKET
    from modeseek.shipped import POCKET_CLIP as POCKET_CLIP


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module 'modeseek' has no attribute {name!r}")
    return getattr(import_module(_MODULE[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
