"""Text to 3D with an answer: an exact denoiser whose data are eight known solids, and who finds one of them."""

from modeseek.experiments.solids.table import main

__all__ = ["main"]
