"""The command line: every method runs, every mistake is one clear sentence with the right exit code."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from PIL import Image

from modeseek import __version__ as modeseek_version
from modeseek import cli, doctor, runs
from modeseek.errors import PriorError, RunError, UsageError
from modeseek.methods import PRODUCT_SAMPLERS, EstimatorName

# two short steps whose bandwidth every sampler takes: below sigma_max for posterior_mean, long enough for summed
QUICK = [
    "--preset",
    "paper",
    "--steps",
    2,
    "--sample-steps",
    8,
    "--bandwidth-start",
    12,
    "--bandwidth-end",
    8,
    "--mlp-features",
    8,
]

Answer = tuple[int, str, str]
Command = Callable[..., Answer]


def image(tiny: Path, *more: object) -> list[object]:
    return ["image", "red cat", "--prior", tiny, "--out", "run", *QUICK, *more]


# -- every method ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", get_args(EstimatorName))
def test_every_estimator_runs(method: str, modeseek: Command, tiny: Path) -> None:
    code, out, err = modeseek(*image(tiny, "--method", method))
    assert code == 0, err
    assert out.startswith(f"{method}")
    assert Path("run/final.png").is_file()
    assert len(Path("run/metrics.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize("sampler", PRODUCT_SAMPLERS)
def test_every_product_sampler_runs(sampler: str, modeseek: Command, tiny: Path) -> None:
    code, out, err = modeseek(*image(tiny, "--sampler", sampler, "--checkpoint-every", 1))
    assert code == 0, err
    assert f"msd, {sampler}, preset paper: 2 steps, " in out
    rows = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    assert [row["bandwidth"] for row in rows] == [12, 8]
    assert all(row["shift"] > 0 for row in rows)
    planned = int(re.findall(r"(\d+) evaluations per picture", out)[0])
    assert rows[-1]["nfe"] == planned
    assert f"{planned} evaluations per picture" in out.splitlines()[-1]


@pytest.mark.parametrize(
    "options",
    [
        ["--generator", "pixels", "--start", "posterior_mean", "--sampler", "exact", "--n-samples", "2"],
        ["--generator", "latents", "--clock", "timestep", "--sampler", "exponential", "--kernel-low", "0.1"],
        ["--guidance-low", "0.2", "--guidance-high", "3", "--negative", "ugly", "--max-eps", "inf", "--printed-start"],
        ["--preset", "quick", "--seed", "-3", "--bandwidth-shape", "cosine", "--size", "24"],
        ["--method", "sds", "--weighting", "uniform", "--time-low", "0.1", "--time-high", "0.9"],
        [
            "--method",
            "sdi",
            "--inversion-steps",
            "4",
            "--inversion-guidance",
            "1",
            "--inversion-eta",
            "0",
            "--inversion-start",
            "0.1",
            "--max-eps",
            "1",
            "--preset",
            "quick",
        ],
    ],
)
def test_options(options: list[str], modeseek: Command, tiny: Path) -> None:
    code, _, err = modeseek(*image(tiny, *options))
    assert code == 0, err
    assert Path("run/final.png").is_file()


def test_what_a_run_says(modeseek: Command, tiny: Path) -> None:
    code, out, _ = modeseek(*image(tiny, "--checkpoint-every", "1"))
    assert code == 0
    plan, where, picture = out.splitlines()
    assert re.fullmatch(
        r"msd, exponential_inverted, preset paper: 2 steps, 48 evaluations per picture; about \d+ s on cpu .*", plan
    )
    assert where == "run directory: run"
    assert re.fullmatch(r"run/final\.png  \(\d+ s, 48 evaluations per picture, peak memory \d+ MiB\)", picture)
    code, out, _ = modeseek("resume", "run")
    assert code == 0
    assert "2 steps done; about 0 s" in out


def test_a_run_without_a_name(modeseek: Command, tiny: Path) -> None:
    code, out, _ = modeseek("image", "Red Cat!", "tree", "--prior", tiny, *QUICK)
    assert code == 0
    assert "run directory: modeseek-runs/red-cat-msd\n" in out
    assert Path("modeseek-runs/red-cat-msd/final-01-tree.png").is_file()


def test_overwrite(modeseek: Command, tiny: Path) -> None:
    modeseek(*image(tiny))
    code, _, err = modeseek(*image(tiny, "--seed", 1))
    assert (code, "must not exist yet, but run does; choose another or --overwrite it" in err) == (1, True)
    assert modeseek(*image(tiny, "--seed", 1, "--overwrite"))[0] == 0
    assert "seed: 1" in Path("run/config.yaml").read_text()


# -- sample ------------------------------------------------------------------------------------------------------------


def test_samples(modeseek: Command, tiny: Path) -> None:
    code, out, err = modeseek("sample", "red cat", "tree", "--prior", tiny, "--n", 3, "--steps", 4, "--out", "a.png")
    assert (code, out, err) == (0, "a.png\n", "")
    sheet = np.asarray(Image.open("a.png"))
    assert sheet.shape == (2 * 18 - 2, 3 * 18 - 2, 3)
    tiles = [sheet[t : t + 16, x : x + 16] for t in (0, 18) for x in (0, 18, 36)]
    assert len({tile.tobytes() for tile in tiles}) == 6
    # a sample does not depend on what else is drawn
    modeseek("sample", "red cat", "--prior", tiny, "--n", 1, "--steps", 4, "--out", "b.png")
    alone = np.asarray(Image.open("b.png")).astype(int)
    assert int(np.abs(alone - tiles[0]).max()) <= 1
    modeseek("sample", "red cat", "tree", "--prior", tiny, "--steps", 4, "--out", "d.png")
    tree = np.asarray(Image.open("d.png"))[:, 18:].astype(int)
    assert int(np.abs(tree - tiles[3]).max()) <= 1
    modeseek("sample", "red cat", "--prior", tiny, "--steps", 4, "--eta", 1, "--seed", 5, "--out", "c.png")
    assert Path("b.png").read_bytes() != Path("c.png").read_bytes()


# -- mistakes ----------------------------------------------------------------------------------------------------------

USAGE = {
    "no prompt": (["image"], "every prompt must hold at least one word, got []"),
    "empty prompt": (["image", "cat", ""], "every prompt must hold at least one word, got ['cat', '']"),
    "empty sample": (["sample", " "], "every prompt must hold at least one word"),
    "negative bandwidth": (["image", "x", "--bandwidth-start", "-1"], "bandwidth_start must be positive and finite"),
    "bandwidths": (["image", "x", "--bandwidth-start", "1", "--bandwidth-end", "2"], "must be at least bandwidth_end"),
    "no steps": (["image", "x", "--steps", "0"], "steps must be at least 1, got 0"),
    "words for numbers": (["image", "x", "--steps", "many"], "'many'"),
    "guidance": (["image", "x", "--guidance", "nan"], "guidance must be finite, got nan"),
    "sample steps": (["sample", "x", "--steps", "0"], "n and steps must be at least 1, got 1 and 0"),
    "unknown option": (["image", "x", "--stepz", "3"], "Unrecognized options: --stepz"),
    "unknown method": (
        ["image", "x", "--method", "magic"],
        "--method must be one of sds, vsd, sdi, msd; got 'magic'",
    ),
    "method of no picture": (
        ["image", "x", "--method", "ddim"],
        "--method must be one of sds, vsd, sdi, msd; got 'ddim'",
    ),
    "unknown command": (["imagine", "x"], "Unrecognized options: imagine"),
    "no command": ([], "Expected one of {image, scene, view, export, compare,"),
    "resume what": (["resume"], "The run's directory. (required)"),
}


@pytest.mark.parametrize("name", USAGE)
def test_wrong_usage(name: str, modeseek: Command, tmp_path: Path) -> None:
    arguments, sentence = USAGE[name]
    code, out, err = modeseek(*arguments)
    assert (code, out) == (2, "")
    assert sentence in err.replace("│", "")
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def complaint(answer: Answer, code: int, *words: str) -> None:
    """One line on stderr, from us, with all the words."""
    assert answer[0] == code, answer
    assert answer[2].startswith("modeseek: ")
    assert answer[2].count("modeseek: ") == 1
    assert "Traceback" not in answer[2]
    assert "Error: " not in answer[2]  # the sentence is ours, not an exception's
    assert all(word in answer[2] for word in words), answer[2]


WRONG_FOR_THE_MODEL = {
    "device": (["--device", "banana"], "device must be one that torch knows, got 'banana'"),
    "device number": (["--device", "cuda:x"], "device must be one that torch knows, got 'cuda:x'"),
    "sample steps": (["--sample-steps", "1001"], "sampling steps must be between 1 and 1000, got 1001"),
    "size": (["--size", "15"], "size must be a multiple of 2, got 15"),
    "bandwidth": (["--sampler", "posterior_mean", "--bandwidth-start", "15"], "must be at most the model's sigma_max"),
    "picture": (["--init", "none.png"], "the picture must be a file that Pillow can read, got none.png"),
}


@pytest.mark.parametrize("name", WRONG_FOR_THE_MODEL)
def test_what_the_model_cannot_do(name: str, modeseek: Command, tiny: Path, tmp_path: Path) -> None:
    options, sentence = WRONG_FOR_THE_MODEL[name]
    complaint(modeseek(*image(tiny, *options)), 2, sentence)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is present")
def test_no_such_device(modeseek: Command, tiny: Path) -> None:
    complaint(modeseek(*image(tiny, "--device", "cuda")), 2, "torch sees no CUDA device for 'cuda'")


@pytest.mark.parametrize("command", ["image", "sample"])
def test_priors_that_cannot_be_opened(command: str, modeseek: Command, tiny: Path, tmp_path: Path) -> None:
    def opened(prior: object) -> Answer:
        return modeseek(command, "x", "--prior", prior, "--out", "out.png")

    complaint(opened("nowhere"), 1, "must be an existing directory or a hub id like owner/name; there is no nowhere")
    complaint(opened("no-one/nothing"), 1, "no-one/nothing cannot be read")
    (tmp_path / "empty").mkdir()
    complaint(opened("empty"), 1, "must be a pipeline directory with a model_index.json; empty has none")
    broken = Path(shutil.copytree(tiny, tmp_path / "broken"))
    (weights,) = (broken / "unet").glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1])
    complaint(opened(broken), 1, f"the prior {broken} cannot be loaded")
    weights.rename(weights.with_suffix(".bin"))
    complaint(opened(broken), 1, "weights must be safetensors", "diffusion_pytorch_model.bin", "never loaded")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["broken", "empty"]


@pytest.mark.parametrize("out", ["/proc/x", "/dev/full/x", "/dev/null/a/b"])
def test_nowhere_to_write(out: str, modeseek: Command, tiny: Path) -> None:
    complaint(modeseek(*image(tiny), "--out", out), 1, f"{out} must be writable")
    answer = modeseek("sample", "x", "--prior", tiny, "--steps", 1, "--out", f"{out}/y.png")
    complaint(answer, 1, f"{out}/y.png must be writable")


def test_samples_go_to_a_new_file(modeseek: Command, tiny: Path) -> None:
    """Two calls without a name leave two pictures."""
    for name in ("red-cat-samples.png", "red-cat-samples-2.png"):
        code, out, err = modeseek("sample", "red cat", "--prior", tiny, "--steps", 2)
        assert code == 0, err
        assert out.strip() == f"modeseek-runs/{name}"
        assert Image.open(f"modeseek-runs/{name}").size == (16, 16)


def test_samples_are_png_files(modeseek: Command, tiny: Path) -> None:
    code, _, err = modeseek("sample", "x", "--prior", tiny, "--out", "x.jpg")
    assert code == 2
    assert "x.jpg" in err
    assert "Traceback" not in err


def test_summed_is_refused_before_the_run_starts(modeseek: Command, tiny: Path, tmp_path: Path) -> None:
    complaint(modeseek(*image(tiny, "--sampler", "summed", "--bandwidth-end", 0.01)), 1, "the summed sampler diverges")
    assert list(tmp_path.iterdir()) == []


def test_version(modeseek: Command) -> None:
    assert modeseek("--version") == (0, f"{modeseek_version}\n", "")


def test_a_run_is_resumed_from_another_folder(
    modeseek: Command, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny, "model")
    assert modeseek(*image(Path("model")))[0] == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert modeseek("resume", "../run")[0] == 0


def test_out_below_a_file(modeseek: Command, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    complaint(modeseek(*image(tiny), "--out", "file/run"), 1, "file/run must be writable: Not a directory")
    complaint(modeseek(*image(tiny), "--out", "file", "--overwrite"), 1, "only a run directory can be overwritten")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_disk_that_fills_up(modeseek: Command, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    real, calls = os.replace, [0]

    def full(*arguments: Any) -> None:
        calls[0] += 1
        if calls[0] > 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(*arguments)

    with monkeypatch.context() as broken:
        broken.setattr(runs.os, "replace", full)
        answer = modeseek(*image(tiny, "--checkpoint-every", 1, "--picture-every", 1))
    assert answer[0] == 1
    assert re.search(r"modeseek: run/\S+ must be writable: No space left on device$", answer[2])
    assert list(Path("run").rglob(".*.part")) == []
    assert modeseek("resume", "run")[0] == 0  # after making room


@pytest.fixture
def finished(modeseek: Command, tiny: Path) -> Path:
    assert modeseek(*image(tiny))[0] == 0
    return Path("run")


def test_resume_of_what_is_no_run(modeseek: Command, tmp_path: Path) -> None:
    complaint(modeseek("resume", tmp_path), 1, f"a run directory must hold a config.yaml; {tmp_path} does not")
    complaint(modeseek("resume", "nowhere"), 1, "a run directory must hold a config.yaml; nowhere does not")


def test_resume_with_a_damaged_checkpoint(modeseek: Command, finished: Path) -> None:
    path = finished / "checkpoint-000002.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    complaint(modeseek("resume", finished), 1, f"{path.name} must match the SHA-256 in checkpoint.json")
    path.unlink()
    complaint(modeseek("resume", finished), 1, "run/checkpoint.json must be a checkpoint that modeseek wrote")
    (finished / "checkpoint.json").write_text("{")
    complaint(modeseek("resume", finished), 1, "run/checkpoint.json must be a checkpoint that modeseek wrote")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("stepz: 3", "run/config.yaml, key stepz: Unexpected keyword argument, got 3"),
        ("steps: 0", "run/config.yaml: steps must be at least 1, got 0"),
        ("method: magic", "run/config.yaml, key method"),
        ("]", "run/config.yaml must be YAML"),
    ],
)
def test_resume_with_a_configuration_that_is_wrong(line: str, sentence: str, modeseek: Command, finished: Path) -> None:
    with open(finished / "config.yaml", "a") as file:
        file.write(f"{line}\n")
    complaint(modeseek("resume", finished), 2, sentence)


def test_resume_with_another_configuration(modeseek: Command, finished: Path) -> None:
    config = finished / "config.yaml"
    config.write_text(config.read_text().replace("mlp_features: 8", "mlp_features: 9"))
    complaint(modeseek("resume", finished), 1, "the checkpoint in run must fit its config.yaml; it does not")


def test_resume_without_the_prior(modeseek: Command, tiny: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(tiny, tmp_path / "prior")
    modeseek(*image(Path("prior")))
    shutil.rmtree(moved)
    complaint(modeseek("resume", "run"), 1, "must be an existing directory or a hub id")


# -- exit codes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (UsageError("a must be b"), 2, "modeseek: a must be b"),
        (PriorError("a must be b"), 1, "modeseek: a must be b"),
        (RunError("a must be b"), 1, "modeseek: a must be b"),
        (KeyboardInterrupt(), 130, "modeseek: interrupted; a run continues with: modeseek resume DIR"),
        (ZeroDivisionError("oops"), 1, "modeseek: ZeroDivisionError: oops (MODESEEK_TRACEBACK=1 shows where)"),
    ],
)
def test_errors_and_exit_codes(
    error: BaseException, code: int, sentence: str, modeseek: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing() -> tuple[str, bool]:
        raise error

    monkeypatch.delenv("MODESEEK_TRACEBACK", raising=False)
    monkeypatch.setattr(doctor, "report", failing)
    assert modeseek("doctor") == (code, "", sentence)


def test_a_traceback_for_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing() -> tuple[str, bool]:
        raise ZeroDivisionError

    monkeypatch.setenv("MODESEEK_TRACEBACK", "1")
    monkeypatch.setattr(doctor, "report", failing)
    with pytest.raises(ZeroDivisionError):
        cli.main(["doctor"])


@pytest.mark.parametrize("healthy", [True, False])
def test_doctor(healthy: bool, modeseek: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "report", lambda: ("the report", healthy))
    assert modeseek("doctor") == (0 if healthy else 1, "the report\n", "")


# -- help --------------------------------------------------------------------------------------------------------------


def test_help_imports_no_torch() -> None:
    code = (
        "import sys\nfrom modeseek import cli\n"
        "for arguments in (['--help'], ['image', '--help'], ['image', 'x', '--steps', '0']):\n"
        "    try: cli.main(arguments)\n"
        "    except SystemExit as end: print('ended with', end.code)\n"
        "print('torch' in sys.modules, 'diffusers' in sys.modules, 'pydantic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert [line for line in done.stdout.splitlines() if "ended with" in line] == [
        "ended with 0",
        "ended with 0",
        "ended with 2",
    ]
    assert done.stdout.splitlines()[-1] == "False False False", done.stderr


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_help(command: str, modeseek: Command) -> None:
    code, out, _ = modeseek(command, "--help")
    assert code == 0
    assert f"usage: modeseek {command}" in out


def test_help_names_every_option(modeseek: Command) -> None:
    import dataclasses

    out = modeseek("image", "--help")[1]
    for field in dataclasses.fields(cli.ImageConfig):
        if field.name != "prompts":
            assert f"--{field.name.replace('_', '-')}" in out


def test_a_warning_is_one_line(modeseek, tiny):
    """A prompt that is cut: what is left out, without a file name and a line of code."""
    words = "red cat " * 20
    code, _, err = modeseek("image", words, "--prior", tiny, "--steps", 1, "--out", "run")
    assert code == 0
    assert err.startswith("modeseek: note: ")
    assert "does not see" in err
    assert ".py" not in err.split("%")[0]
