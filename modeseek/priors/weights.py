"""Loading the parts of a saved pipeline: safetensors alone, complete, and whatever is wrong said in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from modeseek.errors import PriorError
from modeseek.priors.families import Family


def read_layout(name: str) -> dict[str, Any]:
    """The index of a pipeline's directory or hub id.

    Raises:
        PriorError: if there is none, or none that can be read.
    """
    from diffusers import DiffusionPipeline

    path = Path(name)
    if path.exists() and not (path / "model_index.json").is_file():
        raise PriorError(f"a prior must be a pipeline directory with a model_index.json; {name} has none")
    if not path.exists() and (name.count("/") != 1 or name.startswith((".", "/", "~"))):
        raise PriorError(f"a prior must be an existing directory or a hub id like owner/name; there is no {name}")
    try:
        layout: dict[str, Any] = DiffusionPipeline.load_config(name)
    except (OSError, ValueError) as error:
        raise PriorError(f"the prior {name} cannot be read: {_first_line(error)}") from error
    if not isinstance(layout, dict):
        raise PriorError(f"the prior {name} must have a mapping as its model_index.json, got a {type(layout).__name__}")
    return layout


def load_parts(name: str, family: Family, present: list[str], dtype: torch.dtype) -> dict[str, Any]:
    """The parts of a family, by name; those not ``present`` are None.

    Raises:
        PriorError: for pickles, gaps or damage, naming the part.
    """
    parts: dict[str, Any] = dict.fromkeys(family.parts)
    try:
        for part in present:
            parts[part] = _load(name, family, part, dtype)
    except PriorError:
        raise
    # what the libraries raise on damaged folders has no common base
    except Exception as error:
        raise PriorError(f"the prior {name} cannot be loaded: {_first_line(error)}") from error
    return parts


def _load(name: str, family: Family, part: str, dtype: torch.dtype) -> Any:
    import diffusers
    import transformers

    if part in family.tokenizers:
        if Path(name).is_dir() and not (Path(name) / part).is_dir():
            raise PriorError(f"a pipeline must have its tokenizers; {name} lacks {part}")
        return getattr(transformers, family.tokenizers[part]).from_pretrained(name, subfolder=part)
    if part == "scheduler":
        return getattr(diffusers, family.scheduler).from_pretrained(name, subfolder="scheduler")
    _refuse_pickles(Path(name) / part)
    # diffusers' frugal loading wants one more package, and says so each time
    frugal = {"low_cpu_mem_usage": False} if part in family.networks else {}
    kind = getattr(diffusers, family.networks[part]) if frugal else getattr(transformers, family.encoders[part])
    loaded, info = kind.from_pretrained(
        name, subfolder=part, torch_dtype=dtype, use_safetensors=True, output_loading_info=True, **frugal
    )
    # the libraries would fill the gap with random numbers
    if info["missing_keys"]:
        raise PriorError(f"the weights of {name} must be complete; {part} lacks {min(info['missing_keys'])}")
    if part in family.networks and loaded.dtype != dtype:
        loaded.to(dtype)  # diffusers leaves Stable Diffusion 3 in float32 on this path
    return loaded


def _refuse_pickles(folder: Path) -> None:
    if not folder.is_dir():
        return  # a hub id; the libraries are told to take safetensors alone
    if not list(folder.glob("*.safetensors")):
        pickles = sorted(p.name for p in folder.glob("*.bin")) or ["no weights"]
        raise PriorError(f"weights must be safetensors; {folder} holds {', '.join(pickles)} (pickles are never loaded)")


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
