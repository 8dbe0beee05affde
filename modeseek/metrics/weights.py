"""Where the weights of a feature network lie, and which they are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from modeseek.errors import PriorError

SHORT = 8  # hexadecimal digits of a hash that are shown


def sha256(paths: Iterable[Path]) -> str:
    """SHA-256 of files one after another, 64 hexadecimal digits: ``cat FILES | sha256sum``."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            for block in iter(lambda: file.read(2**20), b""):
                digest.update(block)
    return digest.hexdigest()


def model_folder(name: Path | str) -> Path:
    """The directory of a model of transformers: one that exists, or a hub id's local copy, fetched if it may be.

    Raises:
        PriorError: if it is neither.
    """
    path = Path(name)
    if path.exists():
        if not (path / "config.json").is_file():
            raise PriorError(f"a feature model must be a directory with a config.json; {name} is not")
        return path
    if str(name).count("/") != 1 or str(name).startswith((".", "/", "~")):
        raise PriorError(
            f"a feature model must be an existing directory or a hub id like owner/name; there is no {name}"
        )
    return _from_hub(str(name))


def weights_files(folder: Path) -> list[Path]:
    """The safetensors files that transformers loads from a directory, in order.

    Raises:
        PriorError: if it has none.
    """
    whole = folder / "model.safetensors"
    files = [whole] if whole.is_file() else sorted(folder.glob("model-*-of-*.safetensors"))
    if not files:
        raise PriorError(f"weights must be safetensors; {folder} has no model.safetensors (pickles are never loaded)")
    return files


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(name, allow_patterns=["*.json", "*.txt", "model*.safetensors"])
    except (OSError, ValueError) as error:
        raise PriorError(f"the feature model {name} cannot be fetched: {str(error).splitlines()[0]}") from error
    return model_folder(found)
