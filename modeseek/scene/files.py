"""What a run leaves of its field: snapshots over time, the field at the end, and how they are opened again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from modeseek.config import from_yaml, to_yaml
from modeseek.descent import open_device
from modeseek.errors import RunError
from modeseek.generators.nerf import Field, NeRF
from modeseek.runs import Run, writing
from modeseek.scene.build import build_scene
from modeseek.scene.config import SceneConfig, resolve_scene
from modeseek.scene.export import write_field

FIELDS, LAST, CONFIG = "fields", "field.safetensors", "modeseek scene"


def keep_field(config: SceneConfig, field: Field, path: Path) -> None:
    """Write a field as a file that says itself what it is made of.

    Raises:
        RunError: if it cannot be written.
    """
    told = to_yaml(replace(config, out=None))  # the same field is the same file, wherever its run lies
    write_field(field, path, {CONFIG: told})  # one entry: safetensors keeps several in no order


def keep_snapshot(config: SceneConfig, field: Field, path: Path, step: int) -> None:
    """Write the field of a step into a run directory."""
    with writing(path / FIELDS):
        (path / FIELDS).mkdir(exist_ok=True)
    keep_field(config, field, snapshot(path, step))


def snapshot(path: Path, step: int) -> Path:
    """Where a run keeps the field of a step."""
    return path / FIELDS / f"step-{step:06d}.safetensors"


@dataclass
class Kept:
    """The fields of a run, without its model.

    Attributes:
        path: the run directory.
        config: of the run.
        nerf: holds one of the fields; ``load`` puts in another.
        steps: of the snapshots, rising.
    """

    path: Path
    config: SceneConfig
    nerf: NeRF
    steps: tuple[int, ...]

    @classmethod
    def open(cls, path: Path, device: str = "cpu", step: int | None = None) -> Kept:
        """The fields of a run, that of a step loaded, or the last one.

        Raises:
            RunError: if the folder is no run of ``modeseek scene``, or has no field yet, or none of the step.
            UsageError: if there is no such device.
        """
        config = read_config(path)
        scene = build_scene(replace(config, device=str(open_device(device))), config.size or 1)
        kept = cls(path, config, scene, ())
        kept.find()
        if not kept.steps:
            raise RunError(f"the run must have kept a field; {path / FIELDS} has none yet")
        kept.load(kept.steps[-1] if step is None else step)
        return kept

    def find(self) -> None:
        """See which snapshots there are by now."""
        names = (p.stem.removeprefix("step-") for p in (self.path / FIELDS).glob("step-*.safetensors"))
        self.steps = tuple(sorted(int(name) for name in names if name.isdecimal()))

    def load(self, step: int) -> None:
        """Put a snapshot into the scene.

        Raises:
            RunError: if it cannot be read or is of another field.
        """
        if step not in self.steps:
            raise RunError(
                f"the step must be one that {self.path} kept ({', '.join(map(str, self.steps))}), got {step}"
            )
        load_field(self.nerf.field, snapshot(self.path, step))
        self.nerf.settle()


def load_field(field: Field, path: Path) -> None:
    """Put a file of ``keep_field`` into a field of the same make.

    Raises:
        RunError: if it cannot be read or is of another field.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        field.load_state_dict(load(path.read_bytes()))
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise RunError(f"{path} must be a field of this run's config.yaml; it is not ({reason})") from error


def open_field(path: Path) -> Field:
    """A field from a file of its own, on the CPU: it says itself what it is made of.

    Raises:
        RunError: if the file is none that ``modeseek scene`` wrote.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            told = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path} must be a safetensors file ({error})") from error
    if CONFIG not in told:
        raise RunError(f"{path} must be a field that modeseek scene wrote; it does not say what it is made of")
    config = resolve_scene(from_yaml(told[CONFIG], str(path), SceneConfig))
    nerf = build_scene(replace(config, device="cpu"), config.size or 1)  # this machine may lack the run's device
    load_field(nerf.field, path)
    return nerf.field


def read_config(path: Path) -> SceneConfig:
    """The configuration of a scene's run.

    Raises:
        RunError: if the folder is no run, or one of another kind.
    """
    from modeseek.config import mapping

    run = Run.open(path)
    source = str(path / "config.yaml")
    if "encoding" not in mapping(run.config(), source):
        raise RunError(f"{path} must be a run of modeseek scene; it is one of another kind")
    return resolve_scene(from_yaml(run.config(), source, SceneConfig))
