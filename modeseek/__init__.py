"""Turn a diffusion model into a gradient: mean-shift distillation and its baselines."""

__version__ = "0.1.0"
