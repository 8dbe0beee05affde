"""Guidance takes a denoiser and is a denoiser."""

from modeseek.guidance.autoguidance import Autoguidance
from modeseek.guidance.cfg import CFG
from modeseek.guidance.interval import LimitedInterval

__all__ = ["CFG", "Autoguidance", "LimitedInterval"]
