"""What is installed, on which devices, and the traps that others fell into."""

from __future__ import annotations

import importlib
import os
import platform
from importlib import metadata

NEEDED = (
    "torch",
    "numpy",
    "diffusers",
    "transformers",
    "safetensors",
    "tyro",
    "pydantic",
    "pyyaml",
    "pillow",
    "peft",
    "tqdm",
    "rich",
)
OPTIONAL = ("matplotlib", "scikit-image", "gradio", "trimesh", "viser", "av", "tensorboard")


def report() -> tuple[str, bool]:
    """The report, and whether ``modeseek image`` can be expected to run."""
    lines = [f"python {platform.python_version()} on {platform.platform()}"]
    traps: list[str] = []
    for name in NEEDED:
        version = _version(name)
        lines.append(f"  {name:14} {version or 'missing'}")
        if version is None:
            traps.append(f"{name} must be installed: pip install modeseek")
    lines.append("  optional: " + (", ".join(f"{n} {v}" for n in OPTIONAL if (v := _version(n))) or "none"))
    if _version("torch"):
        lines += _torch_lines()
    traps += _torchvision_trap() + _import_traps()
    models, absent = _models()
    lines.append(models)
    traps += absent
    lines += [f"TRAP: {trap}" for trap in traps] or ["no known trap"]
    return "\n".join(lines), not traps


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _torch_lines() -> list[str]:
    import torch

    lines = [
        f"threads: {torch.get_num_threads()} of {os.cpu_count()} cores, "
        f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}, "
        f"OMP_WAIT_POLICY={os.environ.get('OMP_WAIT_POLICY', 'unset')}"
    ]
    if not torch.cuda.is_available():
        return [*lines, "devices: cpu"]
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return [*lines, "devices: cpu, " + ", ".join(f"cuda:{i} {name}" for i, name in enumerate(names))]


def _torchvision_trap() -> list[str]:
    if _version("torchvision") is None:
        return []
    try:
        importlib.import_module("torchvision")
    # a torchvision of another build dies in many ways
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return [
            f"torchvision is installed but cannot be imported ({reason}); diffusers and transformers fail with it, "
            "and modeseek does not need it: pip uninstall torchvision"
        ]
    return []


def _import_traps() -> list[str]:
    traps = []
    for name in ("diffusers", "transformers"):
        if _version(name) is None:
            continue
        try:
            importlib.import_module(name)
        except Exception as error:
            traps.append(f"{name} cannot be imported: {type(error).__name__}: {error}")
    return traps


def _models() -> tuple[str, list[str]]:
    from modeseek.shipped import POCKET, POCKET_CLIP

    folders = (POCKET, POCKET_CLIP)
    absent = [f"the shipped model {f.name} is missing: install modeseek again" for f in folders if not f.is_dir()]
    return "shipped models: " + ", ".join(f.name for f in folders if f.is_dir()), absent
