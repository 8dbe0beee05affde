"""What a run is told, as frozen dataclasses: the command line derives its flags from them, a run keeps them as YAML.

Imports no torch, so that ``--help`` answers at once. ``None`` means: as the preset says. A run's ``config.yaml`` is the
resolved configuration, without any ``None`` that a preset could fill.
"""

from modeseek.config.files import from_yaml, mapping, to_yaml
from modeseek.config.gradient import (
    DType,
    GradientConfig,
    check_counts,
    check_positive,
    check_prompts,
    product_options,
    resolve,
    times,
)
from modeseek.config.image import METHOD_PRESETS, PRESETS, GeneratorName, ImageConfig
from modeseek.config.sample import SampleConfig
from modeseek.config.settings import DEFAULT, MethodPresets, Preset, Settings

__all__ = [
    "DEFAULT",
    "METHOD_PRESETS",
    "PRESETS",
    "DType",
    "GeneratorName",
    "GradientConfig",
    "ImageConfig",
    "MethodPresets",
    "Preset",
    "SampleConfig",
    "Settings",
    "check_counts",
    "check_positive",
    "check_prompts",
    "from_yaml",
    "mapping",
    "product_options",
    "resolve",
    "times",
    "to_yaml",
]
