"""Where the shipped models lie. Imports no torch."""

from __future__ import annotations

from pathlib import Path

MODELS = Path(__file__).resolve().parent / "models"
POCKET = MODELS / "pocket"  # text to 64x64 pictures, a Stable-Diffusion-layout directory
POCKET_CLIP = MODELS / "pocket-clip"  # image-text similarity and image features, a transformers CLIPModel
