"""Generators: parameters -> image. Any ``torch.nn.Module`` that returns an image batch is one."""

from modeseek.generators.base import Encoded, Render, View, render
from modeseek.generators.image_mlp import ImageMLP
from modeseek.generators.tensors import Latents, Pixels, Points

__all__ = ["Encoded", "ImageMLP", "Latents", "Pixels", "Points", "Render", "View", "render"]
