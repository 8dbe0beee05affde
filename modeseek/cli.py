"""The command line. torch is imported inside the commands, so that ``--help`` answers at once."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from modeseek import __version__
from modeseek.compare.config import CompareConfig
from modeseek.config import ImageConfig, SampleConfig, mapping
from modeseek.errors import ModeseekError, ModeseekWarning, RunError, UsageError
from modeseek.experiments.config import ReproduceConfig
from modeseek.lab.config import LabConfig
from modeseek.methods import ESTIMATORS, PRODUCT_SAMPLERS
from modeseek.planar import unknown
from modeseek.reports import duration
from modeseek.scene.config import SceneConfig
from modeseek.scene.later import ExportConfig, ViewConfig

if TYPE_CHECKING:
    from modeseek.lab.run import Lab
    from modeseek.scene.run import TextToScene
    from modeseek.text2image import TextToImage


@dataclass(frozen=True)
class ResumeConfig:
    """Continue a run from its last checkpoint, bit for bit."""

    run: tyro.conf.Positional[Path]
    """The run's directory."""


@dataclass(frozen=True)
class DoctorConfig:
    """Print what is installed, devices, threads, and known traps."""


def image(config: ImageConfig) -> int:
    """Start a run."""
    _quiet()
    from modeseek.text2image import TextToImage

    return _advance(TextToImage.start(config))


def scene(config: SceneConfig) -> int:
    """Start a run of a scene."""
    _quiet()
    from modeseek.scene.run import TextToScene

    return _advance(TextToScene.start(config))


def view(config: ViewConfig) -> int:
    """Show a scene until Ctrl-C."""
    from modeseek.scene.show import show

    show(config, say=lambda line: print(line, flush=True))
    return 0


def export(config: ExportConfig) -> int:
    """Write a scene's surface or field."""
    from modeseek.scene.show import export as write

    print(write(config))
    return 0


def lab(config: LabConfig) -> int:
    """Start a run in the plane."""
    from modeseek.lab.run import Lab

    return _explore(Lab.start(config))


def resume(config: ResumeConfig) -> int:
    """Continue a run, of whichever kind: its config.yaml has an option of its command alone."""
    _quiet()
    from modeseek.runs import Run

    path = config.run
    options = mapping(Run.open(path).config(), str(path / "config.yaml"))
    if "set" in options:
        from modeseek.lab.run import Lab

        return _explore(Lab.resume(path))
    if "encoding" in options:
        from modeseek.scene.run import TextToScene

        return _advance(TextToScene.resume(path))
    from modeseek.text2image import TextToImage

    return _advance(TextToImage.resume(path))


def reproduce(config: ReproduceConfig) -> int:
    """Make a table or a figure of the paper."""
    _quiet()
    from importlib import import_module

    try:
        return import_module(f"modeseek.experiments.{config.what}").main(config) or 0
    except KeyboardInterrupt:
        return _complain("interrupted; the same command goes on where it was", 130)


def compare(config: CompareConfig) -> int:
    """Say what it will cost, make the pictures that are missing, write the report."""
    _quiet()
    from modeseek.compare.costs import costs, describe
    from modeseek.compare.measure import Gauge
    from modeseek.compare.report import write_report
    from modeseek.compare.run import Comparison

    try:
        comparison = Comparison.open(config, say=lambda line: print(line, flush=True))
        comparison.measurable()
        print(describe(costs(comparison), str(comparison.prior.device)), flush=True)
        if config.dry_run:
            return 0
        comparison.paint()
        path = write_report(Gauge.of(comparison))
    except KeyboardInterrupt:
        return _complain("interrupted; the same command goes on where it was", 130)
    print(path.read_text())
    print(path)
    if comparison.failed:
        return _complain(f"{len(comparison.failed)} picture(s) failed; the report names them", 1)
    return 0


def sample(config: SampleConfig) -> int:
    """Write one sheet of samples."""
    _quiet()
    from modeseek.descent import build_prior
    from modeseek.pictures import png, sheet
    from modeseek.randomness import Streams
    from modeseek.runs import free_path, slug, write_atomic, writing

    out = config.out or free_path(Path("modeseek-runs"), f"{slug(config.prompts[0])}-samples", ".png")
    with writing(out):
        (out.parent if config.out is None else Path()).mkdir(parents=True, exist_ok=True)
    if not out.absolute().parent.is_dir():
        raise RunError(f"{out} must be writable: there is no folder {out.parent}")
    prior = build_prior(ImageConfig(config.prompts, prior=config.prior, device=config.device, dtype=config.dtype))
    ids = [(p, k) for p in range(len(config.prompts)) for k in range(config.n)]
    x = prior.sample(
        prior.encode_prompt([config.prompts[p] for p, _ in ids]),
        Streams(config.seed, ids),
        steps=config.steps,
        guidance_scale=config.guidance,
        negative=config.negative,
        eta=config.eta,
    )
    write_atomic(out, png(sheet(prior.decode(x), columns=config.n if config.n > 1 else None)))
    print(out)
    return 0


def doctor(config: DoctorConfig) -> int:
    """Print the report."""
    from modeseek.doctor import report

    text, healthy = report()
    print(text)
    return 0 if healthy else 1


COMMANDS: dict[str, tuple[type, Callable[[Any], int]]] = {
    "image": (ImageConfig, image),
    "scene": (SceneConfig, scene),
    "view": (ViewConfig, view),
    "export": (ExportConfig, export),
    "compare": (CompareConfig, compare),
    "lab": (LabConfig, lab),
    "reproduce": (ReproduceConfig, reproduce),
    "resume": (ResumeConfig, resume),
    "sample": (SampleConfig, sample),
    "doctor": (DoctorConfig, doctor),
}


def _quiet() -> None:
    """Keep the libraries' progress bars and advice off the terminal."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")


def _advance(job: TextToImage | TextToScene) -> int:
    """Say what it will cost, run with a progress bar, say where the picture is."""
    import time

    from tqdm import tqdm

    from modeseek.descent import device_memory, peak_memory

    config, settings, began = job.config, job.settings, time.perf_counter()
    each = "view" if isinstance(config, SceneConfig) else "picture"
    what = config.method if config.method != "msd" else f"msd, {settings.sampler}"
    trained = f" and {job.trained()} training passes" if job.trained() else ""
    print(
        f"{what}, preset {config.preset}: {settings.steps} steps, {job.nfe()} evaluations{trained} per {each}"
        + (f", {job.progress.step} steps done" if job.progress.step else "")
        + f"; about {duration(job.seconds())} on {job.prior.device} (rendering not counted)"
    )
    print(f"run directory: {job.run.path}", flush=True)
    with tqdm(total=settings.steps, initial=job.progress.step, unit="step", dynamic_ncols=True) as bar:
        finished = job.advance(bar=bar)
    if not finished:
        print(f"interrupted after step {job.progress.step}; continue with: modeseek resume {job.run.path}")
        return 130
    facts = [duration(time.perf_counter() - began), f"{job.progress.nfe} evaluations per {each}"]
    facts += [f"peak memory {mib:.0f} MiB" for mib in [peak_memory()] if mib]
    facts += [f"on the device {mib:.0f} MiB" for mib in [device_memory()] if mib]
    print(f"{job.run.path / 'final.png'}  ({', '.join(facts)})")
    if isinstance(config, SceneConfig):
        made = sorted(p.name for p in (*job.run.path.glob("turntable.*"), *job.run.path.glob("mesh.glb")))
        print(f"beside it {', '.join(made)}; look around with: modeseek view {job.run.path}")
    return 0


def _explore(job: Lab) -> int:
    """Run with a progress bar, print the numbers, say where the pictures are."""
    import time

    from tqdm import tqdm

    config, began = job.config, time.perf_counter()
    what = config.method if config.method != "msd" else f"msd, {config.sampler}"
    done = job.job.progress.step if job.job else 0
    print(f"{what}, {config.denoiser} denoiser of {job.problem.planar.name}: {job.nfe()} evaluations per point")
    print(f"run directory: {job.run.path}", flush=True)
    with tqdm(total=config.steps, initial=done, unit="step", dynamic_ncols=True, disable=job.job is None) as bar:
        finished = job.advance(bar=bar)
    if not finished:
        print(f"interrupted; continue with: modeseek resume {job.run.path}")
        return 130
    print(job.table())
    print(f"{job.run.path / 'final.png'}  ({duration(time.perf_counter() - began)})")
    return 0


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, run, exit: 0 done, 1 failure, 2 usage, 130 interrupted."""
    # two programs on two cores that spin while they wait run twenty times slower
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if (sys.argv[1:] if argv is None else list(argv)) == ["--version"]:
        print(__version__)
        sys.exit(0)
    try:
        _check_names(sys.argv[1:] if argv is None else list(argv))
        config: Any = tyro.extras.subcommand_cli_from_dict(
            {name: kind for name, (kind, _) in COMMANDS.items()},
            prog="modeseek",
            description="Turn a diffusion model into a gradient: mean-shift distillation and its baselines.",
            args=argv,
            config=(tyro.conf.FlagCreatePairsOff,),
        )
        with _notes():
            code = next(run for kind, run in COMMANDS.values() if kind is type(config))(config)
    except ModeseekError as error:
        code = _complain(error, 2 if isinstance(error, UsageError) else 1)
    except BrokenPipeError:  # the reader of our output left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except KeyboardInterrupt:
        code = _complain("interrupted; a run continues with: modeseek resume DIR", 130)
    except Exception as error:
        if os.environ.get("MODESEEK_TRACEBACK"):
            raise
        code = _complain(f"{type(error).__name__}: {error} (MODESEEK_TRACEBACK=1 shows where)", 1)
    sys.exit(code)


def _check_names(argv: Sequence[str]) -> None:
    """The nearest name for a method that does not exist; which of them a command takes, its parser says."""
    methods = ("ddim", *ESTIMATORS) if "lab" in argv[:1] else tuple(ESTIMATORS)
    for flag, names in (("--method", methods), ("--sampler", tuple(PRODUCT_SAMPLERS))):
        for k, word in enumerate(argv):
            given = word.partition("=")[2] or (argv[k + 1] if k + 1 < len(argv) else "")
            if word.partition("=")[0] == flag and given and given not in names and not given.startswith("-"):
                raise unknown(flag, given, names)


@contextmanager
def _notes() -> Iterator[None]:
    """Our warnings as one line each, without the file and the line of code that a programmer would want."""
    shown = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
        if not issubclass(category, ModeseekWarning):
            return shown(message, category, *where)
        print(f"modeseek: note: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show  # type: ignore[assignment]
        yield


def _complain(what: object, code: int) -> int:
    print(f"modeseek: {what}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
