"""Opening pipelines of diffusers: from a directory, a hub id, or an object already built."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import Any

import torch

from modeseek.errors import ModeseekWarning, PriorError
from modeseek.priors.base import Prior
from modeseek.priors.families import FAMILIES, Family
from modeseek.priors.memory import Economy, economise
from modeseek.priors.weights import load_parts, read_layout
from modeseek.shipped import POCKET

Device = str | torch.device


def open_prior(
    source: str | os.PathLike[str] | Any = POCKET,
    *,
    device: Device | None = None,
    dtype: torch.dtype | None = None,
    economy: Economy | None = None,
) -> Prior:
    """Open a pretrained model: Stable Diffusion (1.x, 2.x base and v-prediction, XL, 3), FLUX.1, DiT, or DDPM.

    Args:
        source: a directory, a hub id, or a pipeline object of diffusers that is already built. The shipped model if
            not given. The networks are frozen.
        device: where to put it; the CPU if not given, a pipeline object stays where it is.
        dtype: of the networks' weights; float32 if not given, a pipeline object keeps its own.
        economy: ways to take less memory; none if not given.

    Raises:
        PriorError: saying what is missing or unknown: no such directory or id, no pipeline, a layout or prediction type
            that modeseek does not know, weights that are pickles, an economy of a part that is not there.
    """
    economy = economy or Economy()
    if not isinstance(source, str | os.PathLike):
        return _from_pipeline(source, device, dtype, economy)
    name = os.fspath(source)
    layout = read_layout(name)
    kind = str(layout.get("_class_name"))
    family = _family(kind, f"but {name} is a {kind}")
    present = [part for part in family.parts if layout.get(part) and layout[part][0] is not None]
    _check_parts(kind, family, present, name)
    _check_scheduler(family, str(layout["scheduler"][1]))
    _tell_of_checker((layout.get("safety_checker") or [None])[0] is not None, name)
    parts = load_parts(name, family, present, dtype or torch.float32)
    if dtype == torch.float16 and "vae" in parts:
        parts["vae"].float()  # as in _precision
    for part in family.modules:
        if parts[part] is not None:
            parts[part].to(_place(part, family, economy, device or "cpu"))
    return _build(name, family, parts, layout, economy)


def _from_pipeline(pipeline: Any, device: Device | None, dtype: torch.dtype | None, economy: Economy) -> Prior:
    import diffusers

    kind = type(pipeline).__name__
    family = _family(kind, f"got a {kind}")
    found = {part: getattr(pipeline, part) for part in family.parts}
    _check_parts(kind, family, [part for part, value in found.items() if value is not None], "this one")
    _check_scheduler(family, type(found["scheduler"]).__name__)
    _tell_of_checker(pipeline.components.get("safety_checker") is not None, kind)
    for part in family.modules:
        if found[part] is not None:
            found[part].to(device=_place(part, family, economy, device), dtype=_precision(part, dtype))
    found["scheduler"] = getattr(diffusers, family.scheduler).from_config(found["scheduler"].config)
    settings = dict(pipeline.config)
    if kind == "DiTPipeline":
        settings["labels"] = pipeline.labels
    return _build(kind, family, found, settings, economy)


def _place(part: str, family: Family, economy: Economy, device: Device | None) -> Device | None:
    """Where a part belongs; text encoders that are to stay on the CPU never fill the device's memory."""
    return "cpu" if economy.offload_text and part in family.encoders else device


def _precision(part: str, dtype: torch.dtype | None) -> torch.dtype | None:
    # gradients of the size of the bandwidth underflow on their way through an autoencoder in float16
    return torch.float32 if part == "vae" and dtype == torch.float16 else dtype


def _build(name: str, family: Family, parts: Mapping[str, Any], settings: Mapping[str, Any], economy: Economy) -> Prior:
    for part in family.modules:
        if parts[part] is not None:
            parts[part].requires_grad_(False).eval()
    prior = family.build(name, parts, settings)
    economise(prior, economy)
    return prior


def _family(kind: str, told: str) -> Family:
    if kind not in FAMILIES:
        raise PriorError(f"the pipeline must be one of {', '.join(FAMILIES)}, {told}")
    return FAMILIES[kind]


def _check_parts(kind: str, family: Family, present: list[str], name: str) -> None:
    needed = [part for part in family.parts if part not in family.optional]
    absent = [part for part in needed if part not in present]
    if absent:
        raise PriorError(f"a {kind} must have {', '.join(needed)}; {name} lacks {', '.join(absent)}")


def _check_scheduler(family: Family, kind: str) -> None:
    """A scheduler of another kind of model would be read without complaint, and wrongly."""
    flow = family.scheduler.startswith("FlowMatch")
    if kind.startswith("FlowMatch") != flow or kind.startswith("EDM"):
        wanted = "one of flow matching" if flow else "a variance-preserving one with betas"
        raise PriorError(f"the scheduler must be {wanted}, got a {kind}")


def _tell_of_checker(there: bool, name: str) -> None:
    if there:
        warnings.warn(
            f"{name} has a safety checker, which modeseek does not run: pictures are not checked",
            ModeseekWarning,
            stacklevel=3,
        )
