"""Guidance takes a denoiser and is a denoiser."""

from modeseek.guidance.autoguidance import Autoguidance
from modeseek.guidance.cfg import CFG
from modeseek.guidance.interval import LimitedInterval
from modeseek.guidance.packed import Packed, Unpacked, pack, unpack
from modeseek.guidance.perp_neg import PerpNeg

__all__ = ["CFG", "Autoguidance", "LimitedInterval", "Packed", "PerpNeg", "Unpacked", "pack", "unpack"]
