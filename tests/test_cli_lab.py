"""``modeseek lab``: every method on every denoiser runs, every mistake is one clear sentence with the right code."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from PIL import Image
from small_lab import flags, make_small, words

from modeseek.lab import run as lab_run
from modeseek.lab.config import AuxiliaryName, DenoiserName, GuidanceName, LabConfig, LabMethod
from modeseek.methods import PRODUCT_SAMPLERS

Answer = tuple[int, str, str]
Command = Callable[..., Answer]


@pytest.fixture
def modeseek(modeseek: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line, made small."""
    make_small(monkeypatch, tmp_path / "cache")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return modeseek


def lab(planar: object = "eight_gaussians", **options: Any) -> list[object]:
    return ["lab", planar, *flags(**{"out": "run", "denoiser": "exact", **options})]


def complaint(answer: Answer, code: int, *phrases: str) -> None:
    """One line on stderr, from us, with all the words."""
    assert answer[0] == code, answer
    assert answer[2].startswith("modeseek: ")
    assert answer[2].count("modeseek: ") == 1
    assert "Traceback" not in answer[2]
    assert "Error: " not in answer[2]
    assert all(phrase in answer[2] for phrase in phrases), answer[2]


# -- every method ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("denoiser", get_args(DenoiserName))
@pytest.mark.parametrize("method", get_args(LabMethod))
def test_every_method_with_every_denoiser(method: str, denoiser: str, modeseek: Command) -> None:
    code, out, err = modeseek(*lab(method=method, denoiser=denoiser))
    assert code == 0, err
    what = "msd, posterior_mean" if method == "msd" else method
    assert out.startswith(f"{what}, {denoiser} denoiser of eight_gaussians: ")
    planned = int(re.findall(r"(\d+) evaluations per point", out)[0])
    assert Image.open("run/final.png").size == (400, 448)
    assert Path("run/final.pdf").read_bytes().startswith(b"%PDF")
    assert json.loads(Path("run/results.json").read_text())["nfe"] == planned
    assert "run directory: run\n" in out
    assert re.fullmatch(r"run/final\.png  \(\d+ s\)", out.splitlines()[-1])
    assert Path("run/evolution.webp").exists() == Path("run/metrics.jsonl").exists() == (method != "ddim")
    if method != "ddim":
        rows = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
        assert (len(rows), rows[-1]["nfe"]) == (6, planned)


@pytest.mark.parametrize("sampler", [s for s in PRODUCT_SAMPLERS if s != "summed"])
def test_every_product_sampler(sampler: str, modeseek: Command) -> None:
    code, out, err = modeseek(*lab(sampler=sampler, sample_steps=8))
    assert code == 0, err
    assert out.startswith(f"msd, {sampler}, exact denoiser")
    rows = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    assert all(row["shift"] > 0 for row in rows)


def test_summed(modeseek: Command) -> None:
    complaint(modeseek(*lab(sampler="summed")), 1, "the summed sampler diverges", "at bandwidth 0.02; use exponential")
    wide = {"sampler": "summed", "bandwidth_start": 3, "bandwidth_end": 2}
    complaint(modeseek(*lab(**wide, landscape=True)), 2, "landscape_bandwidth must be", "--no-landscape", "diverges")
    assert not Path("run").exists()
    assert modeseek(*lab(**wide))[0] == 0


@pytest.mark.parametrize(
    "options",
    [
        {"landscape": True, "method": "sds", "levels": "vp", "weighting": "uniform", "time_low": 0, "time_high": 1},
        {"landscape": True, "method": "vsd", "auxiliary": "trained", "seed": -3},
        {"landscape": True, "method": "sdi", "levels": "karras", "eta": 0, "max_eps": "inf", "inversion_steps": 3},
        {"method": "vsd", "smoothing": 0.1},
        {"sampler": "gibbs", "sweeps": 2, "n_samples": 2, "sample_steps": 4, "start": "x"},
        {"sampler": "exponential", "kernel_low": 0.1, "kernel_high": 2, "bandwidth_shape": "geometric"},
        {"sample_steps": 1, "sampler": "exact"},
        {"points": 2, "picture_every": 1, "checkpoint_every": 1, "threads": 1},
    ],
)
def test_options(options: dict[str, Any], modeseek: Command) -> None:
    code, out, err = modeseek(*lab(**options))
    assert code == 0, err
    results = json.loads(Path("run/results.json").read_text())
    assert all(abs(value) < 1e6 for value in results.values())
    assert ("rotation" in results) == ("rotation" in out) == options.get("landscape", False)


@pytest.mark.parametrize("guidance", get_args(GuidanceName))
@pytest.mark.parametrize("denoiser", get_args(DenoiserName))
def test_guidance(guidance: str, denoiser: str, modeseek: Command) -> None:
    code, _, err = modeseek(*lab("moons", guidance=guidance, denoiser=denoiser, label=1, guidance_low=0.05))
    assert code == 0, err


def test_a_picture(modeseek: Command) -> None:
    grey = torch.zeros(12, 16, dtype=torch.uint8)
    grey[3:6, 4:9] = 200
    Image.fromarray(grey.numpy()).save("my stars.png")
    code, out, err = modeseek("lab", "my stars.png", *flags(denoiser="ideal"))
    assert code == 0, err
    assert "run directory: modeseek-runs/my stars-msd\n" in out


def test_resume(modeseek: Command) -> None:
    assert modeseek(*lab())[0] == 0
    final = Path("run/final.png").read_bytes()
    code, out, _ = modeseek("resume", "run")
    assert (code, Path("run/final.png").read_bytes()) == (0, final)
    assert out.startswith("msd, posterior_mean, exact denoiser of eight_gaussians")


def test_interrupted(modeseek: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    real = lab_run.Lab.advance
    monkeypatch.setattr(lab_run.Lab, "advance", lambda self, bar: real(self, bar=bar, stop_after=2))
    code, out, _ = modeseek(*lab())
    assert (code, out.splitlines()[-1]) == (130, "interrupted; continue with: modeseek resume run")


# -- mistakes ----------------------------------------------------------------------------------------------------------

WRONG: dict[str, tuple[list[str], str]] = {
    "unknown set": (["eigth_gaussians"], "got 'eigth_gaussians'. Did you mean 'eight_gaussians'?"),
    "unknown picture": (["astronaut.png"], "got 'astronaut.png'. Did you mean 'astronaut'?"),
    "sigma_min": (["moons", "--sigma-min", "0"], "sigma_min must be positive and finite, got 0.0"),
    "sigma_max": (["moons", "--sigma-max", "-1"], "sigma_max must be positive and finite, got -1.0"),
    "sigma_max nan": (["moons", "--sigma-max", "nan"], "sigma_max must be positive and finite, got nan"),
    "bandwidth": (["moons", "--bandwidth-start", "0"], "bandwidth_start must be positive and finite, got 0.0"),
    "bandwidth nan": (["moons", "--bandwidth-end", "nan"], "bandwidth_end must be positive and finite, got nan"),
    "bandwidths": (["moons", "--bandwidth-start", "0.01"], "must be at least bandwidth_end, got 0.01 < 0.02"),
    "guidance": (["moons", "--guidance", "cfg"], "guidance cfg needs a class: give --label"),
    "label": (["moons", "--label", "5"], "the class of moons must be None or below 2, got 5"),
    "large bandwidth": (["moons", "--bandwidth-start", "9"], "must be at most the model's sigma_max 5, got 9"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_usage(name: str, modeseek: Command, tmp_path: Path) -> None:
    arguments, sentence = WRONG[name]
    code, out, err = modeseek("lab", *arguments)
    assert (code, out) == (2, "")
    assert sentence in " ".join(err.replace("│", "").split())  # the parser puts it into a box
    assert "Traceback" not in err
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "phrases"),
    [
        (["lab"], ["A 2D set, one of", "(required)"]),
        (["lab", "moons", "--method", "mds"], ["--method must be one of ddim, sds, vsd, sdi, msd; got 'mds'"]),
        (["lab", "moons", "--sampler", "exakt"], ["got 'exakt'. Did you mean 'exact'?"]),
        (["lab", "moons", "--stepz", "3"], ["--stepz", "--steps"]),
        (["lab", "moons", "--points", "many"], ["'many'"]),
    ],
)
def test_what_the_parser_refuses(arguments: list[str], phrases: list[str], modeseek: Command, tmp_path: Path) -> None:
    code, out, err = modeseek(*arguments)
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    assert all(phrase in err.replace("│", "") for phrase in phrases), err
    assert list((tmp_path / "here").iterdir()) == []


def test_pictures_that_are_none(modeseek: Command) -> None:
    Path("words.png").write_text("no picture")
    complaint(modeseek(*lab("words.png")), 2, "'words.png' must be a picture that Pillow can read")
    Path("empty.png").touch()
    complaint(modeseek(*lab("empty.png")), 2, "'empty.png' must be a picture that Pillow can read")
    Image.new("L", (9, 9), 77).save("blank.png")
    complaint(modeseek(*lab("blank.png")), 2, "a picture must have more than one shade of grey", "got 77 alone")
    Image.effect_noise((64, 64), 50).save("whole.png")
    Path("half.png").write_bytes(Path("whole.png").read_bytes()[:1500])
    complaint(modeseek(*lab("half.png")), 2, "'half.png' must be a picture that Pillow can read")
    Path("folder").mkdir()
    complaint(modeseek(*lab("folder")), 2, "the set, if not a picture file, must be one of", "got 'folder'")
    assert not Path("run").exists()


def test_a_run_that_exists(modeseek: Command) -> None:
    assert modeseek(*lab(method="ddim"))[0] == 0
    final = Path("run/final.png").read_bytes()
    complaint(modeseek(*lab(method="sds")), 1, "must not exist yet, but run does; choose another or --overwrite it")
    assert Path("run/final.png").read_bytes() == final
    assert modeseek(*lab(method="sds", overwrite=True))[0] == 0
    assert Path("run/final.png").read_bytes() != final
    Path("mine").mkdir()
    Path("mine/thesis.tex").touch()
    answer = modeseek(*lab(out="mine", overwrite=True))
    complaint(answer, 1, "only a run directory can be overwritten; mine holds no config.yaml")
    assert Path("mine/thesis.tex").exists()


@pytest.mark.parametrize("out", ["/proc/x", "/dev/full/x", "/dev/null/a/b"])
def test_nowhere_to_write(out: str, modeseek: Command) -> None:
    complaint(modeseek(*lab(out=out)), 1, f"{out} must be writable")


def test_a_cache_that_cannot_be_written(modeseek: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODESEEK_CACHE", "/dev/null/cache")
    complaint(modeseek(*lab(denoiser="learned")), 2, "cache must be a folder that can be written, got /dev/null/cache")
    assert not Path("run").exists()


def test_without_matplotlib(modeseek: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    complaint(modeseek(*lab(denoiser="learned")), 2, 'to draw figures: pip install "modeseek[plots]"')
    assert list((tmp_path / "here").iterdir()) == []
    assert not (tmp_path / "cache").exists()  # and no network was trained


@pytest.mark.parametrize(
    ("line", "code", "sentence"),
    [
        ("stepz: 3", 2, "run/config.yaml, key stepz: Unexpected keyword argument, got 3"),
        ("steps: 0", 2, "run/config.yaml: steps must be at least 1, got 0"),
        ("bandwidth_end: .nan", 2, "run/config.yaml: bandwidth_end must be positive and finite, got nan"),
        ("method: magic", 2, "run/config.yaml, key method"),
        ("set: mons", 2, "got 'mons'. Did you mean 'moons'?"),
        ("]", 2, "run/config.yaml must be YAML"),
        ("points: 5", 1, "the checkpoint in run must fit its config.yaml; it does not"),
    ],
)
def test_resume_with_a_configuration_that_is_wrong(line: str, code: int, sentence: str, modeseek: Command) -> None:
    assert modeseek(*lab(steps=1))[0] == 0
    with open("run/config.yaml", "a") as file:
        file.write(f"{line}\n")
    complaint(modeseek("resume", "run"), code, sentence)


def test_resume_with_a_damaged_checkpoint(modeseek: Command) -> None:
    assert modeseek(*lab(steps=1))[0] == 0
    path = Path("run/checkpoint-000001.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    complaint(modeseek("resume", "run"), 1, f"{path.name} must match the SHA-256 in checkpoint.json")
    path.unlink()
    complaint(modeseek("resume", "run"), 1, "run/checkpoint.json must be a checkpoint that modeseek wrote")


# -- help --------------------------------------------------------------------------------------------------------------


def test_help_names_every_option(modeseek: Command) -> None:
    code, out, _ = modeseek("lab", "--help")
    assert code == 0
    for field in dataclasses.fields(LabConfig):
        if field.name != "set":
            assert f"--{field.name.replace('_', '-')}" in out
    assert all(name in out for kind in (LabMethod, AuxiliaryName) for name in get_args(kind))


def test_help_and_mistakes_import_no_torch() -> None:
    code = (
        "import sys\nfrom modeseek import cli\n"
        "for arguments in (['lab', '--help'], ['reproduce', '--help'], ['lab', 'moons', '--steps', '0']):\n"
        "    try: cli.main(arguments)\n"
        "    except SystemExit as end: print('ended with', end.code)\n"
        "print('torch' in sys.modules, 'matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    ends = [line for line in done.stdout.splitlines() if "ended with" in line]
    assert ends == ["ended with 0", "ended with 0", "ended with 2"]
    assert done.stdout.splitlines()[-1] == "False False", done.stderr


def test_words() -> None:
    """What the tests above say is what they mean."""
    assert words(data=3, landscape=False, overwrite=True) == ["--data", "3", "--no-landscape", "--overwrite"]
    assert words(sample_steps=3, landscape=True, overwrite=False) == ["--sample-steps", "3"]
