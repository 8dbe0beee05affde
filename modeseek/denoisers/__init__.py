"""Denoisers: (z, sigma, cond) -> x0, the posterior mean of clean data given ``z = x + sigma * eps``."""

from modeseek.denoisers.base import Cond, Counting, Denoiser
from modeseek.denoisers.ideal import IdealDenoiser
from modeseek.denoisers.mixture import MixtureDenoiser
from modeseek.denoisers.mlp import MLPDenoiser
from modeseek.denoisers.mlp_training import MAIN, SMALL, MLPConfig, learned, train
from modeseek.denoisers.noise_mlp import NoiseMLP
from modeseek.denoisers.particles import ParticleScore
from modeseek.denoisers.per_class import PerClass

__all__ = [
    "MAIN",
    "SMALL",
    "Cond",
    "Counting",
    "Denoiser",
    "IdealDenoiser",
    "MLPConfig",
    "MLPDenoiser",
    "MixtureDenoiser",
    "NoiseMLP",
    "ParticleScore",
    "PerClass",
    "learned",
    "train",
]
