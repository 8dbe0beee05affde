"""A whole run: what it leaves on the disk, and that a stopped one goes on as if it had never stopped."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from killing import assert_same_run, killed_again_and_again, lines, metrics, python
from PIL import Image
from safetensors.torch import load_file

from modeseek import text2image
from modeseek.config import ImageConfig, from_yaml, resolve
from modeseek.descent import build_prior
from modeseek.errors import RunError, UsageError
from modeseek.estimators import ImageSpace
from modeseek.pictures import png
from modeseek.priors import LatentPrior
from modeseek.randomness import Streams
from modeseek.text2image import TextToImage, build_generator, fit

METRICS = {"step", "grad_norm", "bandwidth", "shift", "nfe", "seconds"}
BASE: dict[str, Any] = {
    "preset": "paper",
    "steps": 6,
    "sample_steps": 2,
    "refresh_every": 2,
    "guidance": 3.0,
    "bandwidth_start": 20.0,
    "bandwidth_end": 0.1,
    "picture_every": 2,
    "checkpoint_every": 2,
    "mlp_features": 8,
    "mlp_width": 8,
}

Start = Callable[..., TextToImage]


@pytest.fixture(autouse=True)
def opened_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A prior has no state: each is opened once for all tests of this file."""
    monkeypatch.setattr(text2image, "build_prior", opened)


OPENED: dict[tuple[str, str, str], LatentPrior] = {}


def opened(config: ImageConfig) -> LatentPrior:
    key = (config.prior, config.device, config.dtype)
    if key not in OPENED:
        OPENED[key] = build_prior(config)
    return OPENED[key]


@pytest.fixture
def start(tiny: Path, tmp_path: Path) -> Start:
    """Start a small run in a new folder of the name."""

    def build(name: str = "run", prompts: tuple[str, ...] = ("red cat",), **options: Any) -> TextToImage:
        return TextToImage.start(
            ImageConfig(prompts, **{**BASE, "prior": str(tiny), "out": tmp_path / name, **options})
        )

    return build


def whole(job: TextToImage) -> Path:
    assert job.advance()
    return job.run.path


# -- what a run leaves -------------------------------------------------------------------------------------------------


def test_the_files_of_a_run(start: Start, tiny: Path, tmp_path: Path) -> None:
    path = whole(start())
    files = {"config.yaml", "metrics.jsonl", "checkpoint.json", "checkpoint-000006.safetensors"}
    files |= {"pictures", "evolution.webp", "final.png", "final-large.png"}
    assert {p.name for p in path.iterdir()} == files
    assert [p.name for p in sorted((path / "pictures").iterdir())] == [f"step-{k:06d}.png" for k in (0, 2, 4, 6)]
    config = from_yaml((path / "config.yaml").read_text(), "config.yaml", ImageConfig)
    assert config == resolve(ImageConfig(("red cat",), prior=str(tiny), out=tmp_path / "run", **BASE))
    assert resolve(config) == config

    rows = metrics(path)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert all(row.keys() >= METRICS for row in rows)
    assert [row["nfe"] for row in rows] == [6, 6, 12, 12, 18, 18]  # 2 up and 2 down guided, every second step
    assert rows[0]["bandwidth"] == pytest.approx(20.0)
    assert rows[2]["bandwidth"] == rows[3]["bandwidth"] == pytest.approx((20.0 * 0.1) ** 0.5)
    assert [row["bandwidth"] for row in rows[4:]] == [0.1, 0.1]
    assert [row["converged"] for row in rows] == [False] * 4 + [True] * 2
    assert all(row["seconds"] > 0 and row["grad_norm"] > 0 for row in rows)

    final, large = Image.open(path / "final.png"), Image.open(path / "final-large.png")
    assert (final.size, large.size) == ((16, 16), (64, 64))
    assert (path / "final.png").read_bytes() == (path / "pictures" / "step-000006.png").read_bytes()
    assert (path / "final.png").read_bytes() != (path / "pictures" / "step-000000.png").read_bytes()
    moving = Image.open(path / "evolution.webp")
    assert (moving.n_frames, moving.size) == (4, (16, 16))


def test_the_plan_is_what_is_spent(start: Start) -> None:
    several: list[dict[str, Any]] = [{}, {"n_samples": 2}, {"refresh_every": 4}, {"guidance": 1.0}]
    for k, options in enumerate([*several, {"method": "sds"}, {"method": "sdi"}]):
        job = start(f"run-{k}", **options)
        whole(job)
        assert job.nfe() == job.progress.nfe == metrics(job.run.path)[-1]["nfe"] > 0


def test_nothing_below_the_command_line_draws_from_the_global_generator(start: Start) -> None:
    job = start()
    before = torch.get_rng_state()
    whole(job)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_same_seed_and_another(start: Start) -> None:
    first = whole(start("a"))
    assert_same_run(first, whole(start("b")))
    assert (first / "final.png").read_bytes() != (whole(start("c", seed=1)) / "final.png").read_bytes()


def test_the_seed_is_that_of_the_noise_too(start: Start, tmp_path: Path) -> None:
    (tmp_path / "start.png").write_bytes(png(torch.full((3, 16, 16), 0.5)))
    same = {"generator": "pixels", "init": tmp_path / "start.png", "sampler": "exact"}
    a, b = whole(start("a", seed=0, **same)), whole(start("b", seed=1, **same))
    assert (a / "pictures/step-000000.png").read_bytes() == (b / "pictures/step-000000.png").read_bytes()
    assert (a / "final.png").read_bytes() != (b / "final.png").read_bytes()


def test_guidance_in_an_interval(start: Start) -> None:
    off = whole(start("off", guidance=1.0))
    # all levels lie below 100 and above 1e-3
    assert_same_run(off, whole(start("beyond", guidance_low=100.0)))
    assert_same_run(whole(start("on")), whole(start("around", guidance_low=1e-3, guidance_high=100.0)))
    part = start("part", guidance_low=1.0, guidance_high=3.0)
    whole(part)
    assert metrics(off)[-1]["nfe"] < part.progress.nfe < start("plan").nfe()


def test_vsd_trains_on_the_pictures_and_says_so(start: Start) -> None:
    job = start(method="vsd", prompts=("red cat", "tree"))
    path = whole(job)
    rows = metrics(path)
    assert [row["nfe"] for row in rows] == [3, 3, 6, 6, 9, 9]  # guided twice and the LoRA once, every second step
    assert all(row["fit_loss"] > 0 for row in rows)  # training is in every step, and in no nfe
    assert (job.nfe(), job.trained()) == (9, 6)
    assert start("sds", method="sds").trained() == 0
    assert any("lora" in name for name in load_file(next(path.glob("checkpoint-*.safetensors"))))


def test_a_model_without_text_has_no_prompts(family_dir: Callable[..., Path], tmp_path: Path) -> None:
    config = ImageConfig(("a",), prior=str(family_dir("ddpm")), guidance=1.0, method="sds", out=tmp_path / "none")
    with pytest.raises(UsageError, match="an unconditional model must go without a prompt, got 'a'"):
        TextToImage.start(config)
    assert not (tmp_path / "none").exists()


# -- latents and pictures ----------------------------------------------------------------------------------------------


def test_a_loss_between_pictures(start: Start) -> None:
    """SDS-2: the run sees pictures, and its target is one."""
    job = start(method="sds", loss="image", guidance=1.0)
    path = whole(job)
    assert isinstance(job.job.estimator, ImageSpace)
    target = job.progress.target
    assert target is not None
    assert target.shape == (1, 3, 16, 16)
    assert (path / "final.png").read_bytes() != whole_bytes(start("latent", method="sds", guidance=1.0))


def whole_bytes(job: TextToImage) -> bytes:
    return (whole(job) / "final.png").read_bytes()


def test_the_posterior_is_sampled_or_not(start: Start) -> None:
    mean, sampled, again = (
        whole_bytes(start(name, posterior=posterior))
        for name, posterior in (("mean", "mean"), ("sampled", "sample"), ("again", "sample"))
    )
    assert mean != sampled
    assert sampled == again


@pytest.mark.parametrize("generator", ["mlp", "pixels", "latents"])
def test_generators(start: Start, generator: str) -> None:
    path = whole(start(generator=generator))
    assert Image.open(path / "final.png").size == (16, 16)
    assert Image.open(path / "final-large.png").size == (64, 64)
    assert (path / "pictures" / "step-000000.png").read_bytes() != (path / "final.png").read_bytes()


def test_another_size(start: Start) -> None:
    assert Image.open(whole(start(size=24)) / "final.png").size == (24, 24)
    with pytest.raises(UsageError, match="size must be a multiple of 2, got 15"):
        start("odd", size=15)


@pytest.mark.parametrize(("generator", "tolerance"), [("mlp", 0.2), ("pixels", 0.01)])
def test_a_start_from_a_picture(tiny: Path, tmp_path: Path, generator: Any, tolerance: float) -> None:
    ramp = torch.linspace(0.1, 0.9, 16).expand(3, 16, 16)
    (tmp_path / "start.png").write_bytes(png(ramp))
    config = ImageConfig(("a", "b"), prior=str(tiny), generator=generator, init=tmp_path / "start.png", mlp_features=32)
    image = build_generator(config, build_prior(config))().detach()
    torch.testing.assert_close(image, ramp.expand(2, 3, 16, 16), rtol=0, atol=tolerance)


def test_latents_start_from_a_picture(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "start.png").write_bytes(png(torch.full((3, 16, 16), 0.2)))
    config = ImageConfig(("a",), prior=str(tiny), generator="latents", init=tmp_path / "start.png")
    prior = build_prior(config)
    expected = prior.encode(torch.full((1, 3, 16, 16), 0.2)).detach()
    torch.testing.assert_close(build_generator(config, prior)(), expected, rtol=0, atol=1e-5)


def test_fit_is_least_squares() -> None:
    from modeseek.generators import Pixels

    generator, image = Pixels(torch.full((1, 3, 4, 4), 0.5)), torch.full((1, 3, 4, 4), 0.7)
    fit(generator, image)
    torch.testing.assert_close(generator(), image, rtol=0, atol=1e-3)


# -- several prompts ---------------------------------------------------------------------------------------------------


def test_several_prompts(start: Start) -> None:
    path = whole(start(prompts=("red cat", "tree / house", "blue")))
    names = ["final-00-red-cat.png", "final-01-tree-house.png", "final-02-blue.png"]
    assert sorted(p.name for p in path.glob("final-[0-9]*")) == names
    sheet = np.asarray(Image.open(path / "final.png"))
    assert sheet.shape == (2 * 18 - 2, 2 * 18 - 2, 3)
    for k, name in enumerate(names):
        top, left = 18 * (k // 2), 18 * (k % 2)
        assert np.array_equal(np.asarray(Image.open(path / name)), sheet[top : top + 16, left : left + 16])


def test_several_particles_of_a_prompt(start: Start) -> None:
    """Their ids are (prompt, particle); they start from different pictures and are named by their prompts."""
    job = start(prompts=("red cat", "tree"), particles=2, method="vsd")
    assert job.job.rng.samples == ((0, 0), (0, 1), (1, 0), (1, 1))
    assert len(job.job.cond) == 4
    assert torch.equal(job.job.cond[0], job.job.cond[1])
    assert not torch.equal(job.job.cond[1], job.job.cond[2])
    images = job.images()
    assert all(float((images[i] - images[j]).abs().max()) > 0.01 for i in range(4) for j in range(i))
    path = whole(job)
    names = ["final-00-red-cat.png", "final-01-red-cat.png", "final-02-tree.png", "final-03-tree.png"]
    assert sorted(p.name for p in path.glob("final-[0-9]*")) == names


def test_one_particle_is_the_prompt_itself(start: Start) -> None:
    assert start(prompts=("red cat", "tree")).job.rng.samples == ((0,), (1,))


def final_images(job: TextToImage) -> torch.Tensor:
    whole(job)
    return job.images()


BATCHED: list[dict[str, Any]] = [
    {},
    {"method": "sds"},
    {"method": "sds", "loss": "image"},
    {"method": "sds", "time": "sqrt", "weighting": "x0"},
    {"method": "sdi"},
    {"method": "sdi", "pairing": "public", "inversion_noise": "added"},
    {"sampler": "gibbs"},
    {"n_samples": 2},
    {"posterior": "sample"},
]


@pytest.mark.parametrize("options", BATCHED)
def test_a_batch_of_prompts_is_single_runs_to_rounding(
    start: Start, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = ("red cat", "tree")
    together = final_images(start("together", prompts, **options))
    first = final_images(start("first", prompts[:1], **options))
    torch.testing.assert_close(together[:1], first, rtol=0, atol=5e-4)
    # a second picture has sample id 1: alone, it must be told
    monkeypatch.setattr(Streams, "for_batch", classmethod(lambda cls, seed, batch: cls(seed, range(1, 1 + batch))))
    second = final_images(start("second", prompts[1:], **options))
    torch.testing.assert_close(together[1:], second, rtol=0, atol=5e-4)
    assert float((first - second).abs().max()) > 0.02


# -- stopped and continued ---------------------------------------------------------------------------------------------

EVERY_STATE = [
    {},
    {"method": "sds"},
    {"method": "sds", "loss": "image"},
    {"method": "sdi"},
    {"method": "sdi", "pairing": "public", "time": "uniform"},
    {"method": "vsd"},
    {"method": "vsd", "particles": 2, "time_drop": (2, 0.5)},
    {"posterior": "sample"},
    {"refresh_every": 4, "picture_every": 1, "checkpoint_every": 100},
    {"sampler": "exact", "start": "posterior_mean", "n_samples": 2},
    {"sampler": "gibbs", "sweeps": 2},
    {"generator": "pixels"},
    {"generator": "latents"},
    {"dtype": "bfloat16"},
]


@pytest.mark.parametrize("options", EVERY_STATE, ids=lambda o: "-".join(map(str, o.values())) or "plain")
def test_resumed_is_uninterrupted_byte_for_byte(start: Start, options: dict[str, Any]) -> None:
    expected = whole(start("whole", ("red cat", "tree"), **options))
    for steps in (1, 3):
        job = start(f"stopped-{steps}", ("red cat", "tree"), **options)
        assert not job.advance(stop_after=steps)
        assert job.progress.step == steps
        assert not (job.run.path / "final.png").exists()
        again = TextToImage.resume(job.run.path)
        assert again.progress.step == steps
        assert not again.advance(stop_after=1)
        assert_same_run(expected, whole(TextToImage.resume(job.run.path)))


def test_a_finished_run_is_finished_again(start: Start) -> None:
    expected = whole(start("whole"))
    path = whole(start("again"))
    (path / "final.png").unlink()
    assert_same_run(expected, whole(TextToImage.resume(path)))


def test_a_run_that_was_moved_goes_on(start: Start, tmp_path: Path) -> None:
    expected = whole(start("whole"))
    job = start("here")
    job.advance(stop_after=3)
    there = Path(shutil.move(job.run.path, tmp_path / "there"))
    assert_same_run(expected, whole(TextToImage.resume(there)))
    assert not job.run.path.exists()


class Killed(BaseException):
    """A kill: nothing catches it, nothing is tidied up."""


def test_killed_at_any_write_it_goes_on(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    # a kill between any two things that happen to the folder: every rename, every removal, every line of the log
    from modeseek import runs

    short: dict[str, Any] = {"steps": 4, "picture_every": 4}
    expected = whole(start("whole", **short))
    real_replace, real_unlink, real_log = os.replace, Path.unlink, runs.Run.log
    left = 0

    def counted(real: Callable[..., Any], after: bool) -> Callable[..., Any]:
        def operation(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0 and not after:
                raise Killed
            out = real(*args, **kwargs)
            if left < 0:
                raise Killed
            return out

        return operation

    kill, finished = 0, False
    while not finished:
        job = start(f"killed-{kill}", **short)
        left = kill
        with monkeypatch.context() as broken:
            broken.setattr(os, "replace", counted(real_replace, after=False))
            broken.setattr(Path, "unlink", counted(real_unlink, after=False))
            broken.setattr(runs.Run, "log", counted(real_log, after=True))
            try:
                finished = job.advance()
            except Killed:
                left = 3  # and once more, while it is being continued
                with pytest.raises(Killed):
                    TextToImage.resume(job.run.path).advance()
        left = 10**9
        assert_same_run(expected, whole(TextToImage.resume(job.run.path)))
        kill += 1
    assert kill > 15


MANY = {"steps": 60, "checkpoint_every": 3, "picture_every": 25}


@pytest.fixture(scope="module")
def uninterrupted(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("uninterrupted") / "run"
    config = ImageConfig(("red cat", "tree"), **{**BASE, **MANY, "prior": str(tiny), "out": path})
    return whole(TextToImage.start(config))


def flags(tiny: Path, path: Path) -> list[str]:
    given = {**BASE, **MANY, "prior": tiny, "out": path}
    return ["image", "red cat", "tree", *(str(w) for k, v in given.items() for w in (f"--{k.replace('_', '-')}", v))]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_kill_9_and_resume(tiny: Path, tmp_path: Path, uninterrupted: Path) -> None:
    path = tmp_path / "run"
    # before the first checkpoint, between two, while a checkpoint is written
    moments = [
        (1, False),
        (2, True),
        (7, False),
        (8, True),
        (14, False),
        (20, True),
        (25, True),
        (32, False),
        (40, True),
    ]
    killed_again_and_again(path, moments, flags(tiny, path))
    assert not (path / "final.png").exists()
    resumed = TextToImage.resume(path)
    assert 36 <= resumed.progress.step < 60
    assert_same_run(uninterrupted, whole(resumed))


def test_ctrl_c_saves_and_says_how_to_go_on(tiny: Path, tmp_path: Path, uninterrupted: Path) -> None:
    path = tmp_path / "run"
    process = python("-m", "modeseek", *flags(tiny, path))
    while lines(path) < 10:
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 130
    done = lines(path)
    assert f"interrupted after step {done}; continue with: modeseek resume {path}" in out
    assert out.startswith("msd, exponential_inverted, preset paper: 60 steps, 180 evaluations per picture")
    # nothing but the progress bar
    assert all("step/s" in line or not line.strip() for line in err.replace("\r", "\n").splitlines()), err
    assert json.loads((path / "checkpoint.json").read_text())["step"] == done  # the step was finished and saved
    assert not (path / "final.png").exists()
    assert_same_run(uninterrupted, whole(TextToImage.resume(path)))


def test_a_second_ctrl_c_breaks_the_step(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    job = start()
    before = signal.getsignal(signal.SIGINT)
    real = job.job.estimator

    def twice(*args: Any, **kwargs: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        return real(*args, **kwargs)

    job.job.estimator = twice  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        job.advance()
    assert signal.getsignal(signal.SIGINT) is before


# -- what cannot go on -------------------------------------------------------------------------------------------------


@pytest.fixture
def stopped(start: Start) -> Path:
    job = start("stopped")
    job.advance(stop_after=3)
    return job.run.path


def resave(path: Path, change: Callable[[dict[str, torch.Tensor], dict[str, Any]], None]) -> None:
    """Write a changed checkpoint whose digest fits."""
    from modeseek.runs import Run

    found = Run.open(path).load()
    assert found is not None
    tensors, state = found
    change(tensors, state)
    kept = {k: v for k, v in state.items() if k not in ("format", "step", "tensors", "sha256")}
    Run.open(path).save(state["step"], tensors, kept)


def first(tensors: dict[str, torch.Tensor], prefix: str) -> str:
    return next(k for k in sorted(tensors) if k.startswith(prefix))


@pytest.mark.parametrize(
    "change",
    [
        lambda t, s: t.pop(first(t, "picture.")),
        lambda t, s: t.update({"picture.more": torch.zeros(1)}),
        lambda t, s: t.update({first(t, "picture."): torch.zeros(1)}),
        lambda t, s: [t.pop(k) for k in list(t) if k.startswith("optimiser.1.")],
        lambda t, s: [t.pop(k) for k in list(t) if k.startswith("optimiser.")],
        lambda t, s: t.update({"optimiser.x": torch.zeros(1)}),
        lambda t, s: t.pop("target"),
        lambda t, s: s.pop("nfe"),
        lambda t, s: s.pop("info"),
        lambda t, s: s.pop("threads"),
        lambda t, s: s.update(info=3),
        lambda t, s: s.update(nfe="many"),
    ],
)
def test_a_checkpoint_that_does_not_fit(stopped: Path, change: Callable[..., None]) -> None:
    resave(stopped, change)
    with pytest.raises(RunError, match=r"the checkpoint in .* must fit its config\.yaml; it does not") as caught:
        TextToImage.resume(stopped)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_another_configuration(stopped: Path) -> None:
    text = (stopped / "config.yaml").read_text()
    (stopped / "config.yaml").write_text(text.replace("mlp_width: 8", "mlp_width: 9"))
    before = sorted(p.name for p in stopped.rglob("*"))
    with pytest.raises(RunError, match=r"must fit its config\.yaml"):
        TextToImage.resume(stopped)
    assert sorted(p.name for p in stopped.rglob("*")) == before  # nothing was cut back


def test_other_threads_are_said(stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.set_num_threads(2)
    TextToImage.resume(stopped)
    assert "note: the run used 1 threads, this one 2" in capsys.readouterr().err


def test_what_a_checkpoint_holds(stopped: Path) -> None:
    names = set(load_file(stopped / "checkpoint-000003.safetensors"))
    assert "target" in names
    assert {n.split(".")[0] for n in names} == {"picture", "optimiser", "target"}


# -- refused before anything is made -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": "posterior_mean", "bandwidth_start": 15.0}, "bandwidth_start for posterior_mean must be at most"),
        ({"sample_steps": 1001}, "sampling steps must be between 1 and 1000"),
        ({"device": "banana"}, "device must be one that torch knows, got 'banana'"),
        ({"init": Path("/no/such.png")}, "the picture must be a file"),
        ({"size": 7}, "size must be a multiple of 2"),
    ],
)
def test_no_folder_is_left_behind(start: Start, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        start(**options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is present")
def test_a_device_that_is_absent(start: Start) -> None:
    with pytest.raises(UsageError, match="torch sees no CUDA device for 'cuda:0'"):
        start(device="cuda:0")


def test_a_run_that_exists(start: Start) -> None:
    path = whole(start(seed=1))
    final = (path / "final.png").read_bytes()
    with pytest.raises(RunError, match="must not exist yet"):
        start(seed=2)
    assert (path / "final.png").read_bytes() == final
    with pytest.raises(UsageError):  # a mistake must not cost the older run
        start(seed=2, overwrite=True, size=7)
    assert (path / "final.png").read_bytes() == final
    assert (whole(start(seed=2, overwrite=True)) / "final.png").read_bytes() != final


def test_runs_without_a_name(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = ImageConfig(("Red cat!",), **{**BASE, "prior": str(tiny), "steps": 1})
    paths = [TextToImage.start(config).run.path for _ in range(2)]
    assert paths == [Path("modeseek-runs/red-cat-msd"), Path("modeseek-runs/red-cat-msd-2")]
    assert from_yaml((paths[1] / "config.yaml").read_text(), "", ImageConfig).out == paths[1]
