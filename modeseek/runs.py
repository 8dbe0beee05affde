"""A run on disk: config.yaml, metrics.jsonl, pictures, a checkpoint. Every file is complete or absent."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from modeseek.errors import RunError

CONFIG, METRICS, CHECKPOINT, PICTURES = "config.yaml", "metrics.jsonl", "checkpoint.json", "pictures"
FORMAT = 1


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the disk says into one sentence.

    Raises:
        RunError: naming the path and the reason.
    """
    try:
        yield
    except OSError as error:
        raise RunError(f"{path} must be writable: {error.strerror or error}") from error


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a whole file or nothing: to a neighbour, to the disk, then renamed.

    Raises:
        RunError: if the disk is full or read-only; a file that was there stays as it was.
    """
    part = path.with_name(f".{path.name}.part")
    with writing(path):
        try:
            with open(part, "wb") as file:
                file.write(data.encode() if isinstance(data, str) else data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        except OSError:
            part.unlink(missing_ok=True)
            raise


@dataclass(frozen=True)
class Run:
    """A run directory.

    Attributes:
        path: the folder.
    """

    path: Path

    @classmethod
    def create(cls, path: Path, config: str, *, overwrite: bool = False) -> Run:
        """A new folder with its configuration (YAML text).

        Raises:
            RunError: if it exists and is not to be replaced, is no run (never replaced), or cannot be written.
        """
        if path.exists():
            refuse_existing(path, overwrite)
            if not path.is_dir() or (any(path.iterdir()) and not (path / CONFIG).is_file()):
                raise RunError(f"only a run directory can be overwritten; {path} holds no {CONFIG}")
            with writing(path):
                shutil.rmtree(path)
        with writing(path):
            (path / PICTURES).mkdir(parents=True)
        write_atomic(path / CONFIG, config)
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> Run:
        """An existing run.

        Raises:
            RunError: if the folder is none.
        """
        if not (path / CONFIG).is_file():
            raise RunError(f"a run directory must hold a {CONFIG}; {path} does not")
        return cls(path)

    def config(self) -> str:
        """The configuration, YAML text.

        Raises:
            RunError: if it cannot be read.
        """
        try:
            return (self.path / CONFIG).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(f"{self.path / CONFIG} must be readable text: {error}") from error

    def log(self, row: dict[str, Any]) -> None:
        """Append one line to metrics.jsonl."""
        with writing(self.path / METRICS), open(self.path / METRICS, "a") as file:
            file.write(json.dumps(row) + "\n")

    def picture(self, step: int, data: bytes) -> None:
        """Keep the picture (PNG bytes) after ``step`` optimiser steps."""
        write_atomic(self.path / PICTURES / f"step-{step:06d}.png", data)

    def pictures(self) -> list[Path]:
        """Pictures in the order of their steps."""
        return sorted((self.path / PICTURES).glob("step-*.png"))

    def save(self, step: int, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Write a checkpoint: tensors first, then the JSON that names them, then the older tensors go.

        A kill at any moment leaves the older checkpoint or the newer one.
        """
        from safetensors.torch import save

        name = _tensors(step)
        data = save({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()})
        write_atomic(self.path / name, data)
        digest = hashlib.sha256(data).hexdigest()
        write_atomic(
            self.path / CHECKPOINT,
            json.dumps({"format": FORMAT, "step": step, "tensors": name, "sha256": digest, **state}, indent=1),
        )
        for old in self.path.glob("checkpoint-*.safetensors"):
            if old.name != name:
                old.unlink()

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The last checkpoint's tensors and state; None if there is none yet.

        Raises:
            RunError: if it is damaged, foreign, or of another format.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        path = self.path / CHECKPOINT
        if not path.is_file():
            return None
        try:
            state = json.loads(path.read_text())
            data = (self.path / state["tensors"]).read_bytes()
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise RunError(f"{path} must be a checkpoint that modeseek wrote; it cannot be read ({error})") from error
        if state.get("format") != FORMAT:
            raise RunError(f"{path} must be of checkpoint format {FORMAT}, got {state.get('format')}")
        if hashlib.sha256(data).hexdigest() != state.get("sha256"):
            raise RunError(
                f"{state['tensors']} must match the SHA-256 in {CHECKPOINT}; the file is damaged or another one"
            )
        try:
            return load(data), state
        except SafetensorError as error:
            raise RunError(f"{state['tensors']} must be a safetensors file ({error})") from error

    def cut_back(self, step: int) -> None:
        """Drop log lines and pictures of steps that a resumed run will do again, and what a kill left half done."""
        metrics = self.path / METRICS
        if metrics.is_file():
            kept = [line for line in metrics.read_text().splitlines(keepends=True) if _step_of(line) <= step]
            write_atomic(metrics, "".join(kept))
        for picture in self.pictures():
            if int(picture.stem.removeprefix("step-")) > step:
                picture.unlink()
        for old in self.path.glob("checkpoint-*.safetensors"):
            if old.name != _tensors(step):
                old.unlink()
        for part in self.path.rglob(".*.part"):
            part.unlink()


def _tensors(step: int) -> str:
    return f"checkpoint-{step:06d}.safetensors"


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Refuse a run directory that is there already.

    Raises:
        RunError: unless it is to be overwritten.
    """
    if path.exists() and not overwrite:
        raise RunError(f"the run directory must not exist yet, but {path} does; choose another or --overwrite it")


def _step_of(line: str) -> float:
    """The step of a log line; infinite for one that a kill cut short."""
    if not line.endswith("\n"):
        return float("inf")
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


def free_path(folder: Path, stem: str, suffix: str = "") -> Path:
    """``folder/stem.suffix``, or with -2, -3, ... after the stem the first that does not exist."""
    k, path = 1, folder / f"{stem}{suffix}"
    while path.exists():
        k += 1
        path = folder / f"{stem}-{k}{suffix}"
    return path


def slug(text: str) -> str:
    """A prompt as a short file name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40] or "prompt"
