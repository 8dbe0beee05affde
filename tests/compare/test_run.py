"""Cells: every method's pictures, made once, the same in any batch, resumed after a kill; a failure stops nothing."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from modeseek.compare import batches, run
from modeseek.compare.cells import MEANT_FOR, Cell
from modeseek.compare.config import Contender
from modeseek.compare.measure import finals, found
from modeseek.config import ImageConfig
from modeseek.errors import NonFiniteError, RunError
from modeseek.methods import ESTIMATORS
from modeseek.text2image import TextToImage


def files(folder: Path) -> dict[str, bytes]:
    """Every file under a folder but for the clock's."""
    out = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        if path.name == "final.png":
            out[str(path.relative_to(folder))] = path.read_bytes()
    return out


@pytest.mark.parametrize("method", ESTIMATORS)
def test_every_method_fills_its_cells(compare, method):
    comparison = compare(method)
    comparison.paint()
    assert comparison.failed == {}
    cells = comparison.cells(Contender(method))
    assert [(c.index, c.config.seed) for c in cells] == [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert not any(comparison.missing(c) for c in comparison.contenders)
    folder = comparison.config.out / "cells" / method / "00-red-cat" / "seed-1"
    facts = json.loads((folder / "cell.json").read_text())
    assert (facts["method"], facts["prompt"], facts["seed"]) == (method, "red cat", 1)
    assert facts["nfe"] == comparison.nfe(Contender(method))
    painted = cells[2].read(comparison.config.out)
    assert painted.steps.tolist() == [0, 1, 2, 3]
    assert painted.images.shape == (4, 3, 16, 16)
    assert bool((painted.seconds.diff() > 0).all())
    assert not (comparison.config.out / "batches").exists()


def test_a_cell_is_the_picture_of_an_image_run(compare, tmp_path):
    comparison = compare("msd")
    comparison.paint([Contender("msd")])
    options = {"preset": "quick", "guidance": 8.5, "steps": 3, "lr": 1e-2, "seed": 1, "out": tmp_path / "run"}
    job = TextToImage.start(ImageConfig(comparison.texts, prior=comparison.config.prior, **options))
    job.advance()
    ours = finals([pair for pair in found(comparison, Contender("msd")) if pair[0].config.seed == 1])
    # the same draws in another batch: equal to rounding, and to one step of 8 bits
    assert float((job.images() - ours).abs().max()) <= 1.01 / 255


def test_cells_do_not_depend_on_their_batch(compare, tmp_path):
    for name, size in (("a", 1), ("b", 20)):
        comparison = compare("msd", batch=size, out=tmp_path / name)
        comparison.paint()
    pairs = [finals(found(compare("msd", out=tmp_path / name), c)) for name in "ab" for c in comparison.contenders]
    for one, other in zip(pairs[:3], pairs[3:]):
        assert float((one - other).abs().max()) <= 1.01 / 255


def test_what_is_there_is_not_made_again(compare, monkeypatch):
    comparison = compare("sds")
    comparison.paint()
    before = files(comparison.config.out)
    again = compare("sds,msd")
    again.paint()
    assert [line.split(":")[0] for line in again.said] == ["msd"]
    assert before.items() < files(comparison.config.out).items()
    assert [str(c) for c in compare("sds,msd", steps=4).contenders if compare("sds,msd", steps=4).missing(c)] == [
        "sds",
        "msd",
    ]


def test_a_damaged_cell_is_made_again(compare):
    comparison = compare("sds")
    comparison.paint()
    folder = comparison.config.out / "cells/sds/01-a-tree/seed-0"
    kept = (folder / "final.png").read_bytes()
    (folder / "snapshots.safetensors").write_bytes(b"half of")
    assert [(c.index, c.config.seed) for c in comparison.missing(Contender("sds"))] == [(1, 0)]
    comparison.paint()
    assert (folder / "final.png").read_bytes() == kept


def test_a_cell_is_told_by_what_its_method_reads(compare):
    comparison = compare("sds,msd")
    sds, msd = (comparison.cells(Contender(name))[0] for name in ("sds", "msd"))

    def marked(cell, **options):
        return dataclasses.replace(cell, config=dataclasses.replace(cell.config, **options)).mark

    assert marked(sds, bandwidth_end=0.1) == sds.mark
    assert marked(msd, bandwidth_end=0.1) != msd.mark
    assert marked(sds, weighting="uniform") != sds.mark
    assert marked(msd, weighting="uniform") == msd.mark
    assert marked(msd, threads=4) == msd.mark
    assert marked(msd, lr=0.5) != msd.mark
    assert dataclasses.replace(msd, index=1).mark != msd.mark
    names = {f.name for f in dataclasses.fields(ImageConfig)}
    assert set(MEANT_FOR) <= names
    assert {m for methods in MEANT_FOR.values() for m in methods} == set(ESTIMATORS)


def test_vsd_keeps_the_particles_of_a_prompt_together(compare):
    comparison = compare("vsd,sds")
    groups = [list(batches.grouped(comparison.cells(Contender(m)), 3)) for m in ("vsd", "sds")]
    assert [[(c.index, c.config.seed) for c in g] for g in groups[0]] == [[(0, 0), (0, 1)], [(1, 0), (1, 1)]]
    assert [len(g) for g in groups[1]] == [3, 1]
    one = compare("vsd", seeds="0").cells(Contender("vsd"))[0]
    assert one.mark != comparison.cells(Contender("vsd"))[0].mark  # other particles, another picture


def test_a_failed_cell_is_named_and_the_rest_goes_on(compare, monkeypatch):
    build = batches.build_generator

    def broken(config, prior, streams):
        generator = build(config, prior, streams)
        if (1, 0) in zip((s[0] for s in streams.samples), streams.seeds) and config.method == "sds":
            raise NonFiniteError("the gradient must be finite, got NaN")
        return generator

    monkeypatch.setattr(batches, "build_generator", broken)
    comparison = compare("sds,msd")
    comparison.paint()
    assert comparison.failed == {("sds", "a tree", 0): "the gradient must be finite, got NaN"}
    assert len(found(comparison, Contender("sds"))) == 3
    assert len(found(comparison, Contender("msd"))) == 4
    assert any("'a tree', seed 0: failed" in line for line in comparison.said)


def test_particles_are_made_again_together(compare):
    """One that is gone takes its mates with it: alone it would have learnt from itself."""
    comparison = compare("vsd")
    comparison.paint()
    kept = files(comparison.config.out)
    shutil.rmtree(comparison.config.out / "cells/vsd/00-red-cat/seed-1")
    assert [(c.index, c.config.seed) for c in comparison.missing(Contender("vsd"))] == [(0, 0), (0, 1)]
    comparison.paint()
    assert files(comparison.config.out) == kept


def test_batches_do_not_depend_on_what_is_there(compare):
    comparison = compare("sds", batch=3)
    comparison.paint()
    shutil.rmtree(comparison.config.out / "cells/sds/00-red-cat/seed-0")
    shutil.rmtree(comparison.config.out / "cells/sds/01-a-tree/seed-1")
    groups = comparison.batches(Contender("sds"))
    assert [[(c.index, c.config.seed) for c in g] for g in groups] == [[(0, 0)], [(1, 1)]]


def test_a_full_disk_loses_no_work(compare, monkeypatch):
    """The batch stays where it was until all its cells are written."""
    comparison = compare("sds", seeds="0-1")
    comparison.paint(comparison.contenders[:2])
    whole, written = Cell.write, []

    def full(self, out, painted):
        if len(written) == 1:
            raise RunError(f"{out} must be writable: No space left on device")
        written.append(self)
        whole(self, out, painted)

    with monkeypatch.context() as patch:
        patch.setattr(Cell, "write", full)
        comparison.paint()
    assert len(comparison.failed) == 4
    assert len(list(comparison.config.out.glob("batches/*/checkpoint.json"))) == 1
    again = compare("sds", seeds="0-1")
    again.paint()
    assert again.failed == {}
    assert not (comparison.config.out / "batches").exists()


@pytest.mark.parametrize("error", [ValueError("odd"), MemoryError("no memory"), IndexError("out of range")])
def test_whatever_fails_does_not_stop_the_rest(error, compare, monkeypatch):
    def broken(self, cells):
        raise error

    monkeypatch.setattr(run.Comparison, "_distilled", broken)
    comparison = compare("sds", seeds="0")
    comparison.paint()
    assert set(comparison.failed.values()) == {str(error)}


def test_another_model_in_the_same_folder_is_another_model(compare, tiny, tmp_path):
    """The mark of a cell knows the attention in the middle, the autoencoder, and how the network is read."""
    copy = tmp_path / "model"
    shutil.copytree(tiny, copy)
    first = compare("sds", prior=str(copy)).cells(Contender("sds"))[0].mark
    settings = json.loads((copy / "scheduler/scheduler_config.json").read_text())
    changed = {**settings, "prediction_type": "epsilon"}
    (copy / "scheduler/scheduler_config.json").write_text(json.dumps(changed))
    assert compare("sds", prior=str(copy)).cells(Contender("sds"))[0].mark != first
    (copy / "scheduler/scheduler_config.json").write_text(json.dumps(settings))
    assert compare("sds", prior=str(copy)).cells(Contender("sds"))[0].mark == first
    for part, name in (("unet", "to_q"), ("vae", "encoder.conv_out"), ("text_encoder", "mlp.fc1")):
        comparison = compare("sds", prior=str(copy))
        with torch.no_grad():
            next(p for k, p in getattr(comparison.prior, part).named_parameters() if name in k).add_(1.0)
        assert comparison.cells(Contender("sds"))[0].mark != first


def test_memory_that_is_out_is_a_failed_cell(compare, monkeypatch):
    def out_of_memory(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\nmore lines")

    monkeypatch.setattr(run.Comparison, "_distilled", out_of_memory)
    comparison = compare("sds", seeds="0")
    comparison.paint()
    assert set(comparison.failed.values()) == {"CUDA out of memory. Tried to allocate"}


def test_ctrl_c_goes_on_from_the_checkpoint(compare, tmp_path):
    whole = compare("sds", out=tmp_path / "whole", steps=6)
    whole.paint()
    broken = compare("sds", out=tmp_path / "broken", steps=6)
    estimators = run.build_estimator

    class Pressing:
        def __init__(self, estimator):
            self.estimator = estimator

        def nfe(self, step):
            return self.estimator.nfe(step)

        def __call__(self, x, cond=None, *, rng, step=0):
            if step == 2:
                signal.raise_signal(signal.SIGINT)
            return self.estimator(x, cond, rng=rng, step=step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "build_estimator", lambda *a: Pressing(estimators(*a)))
        with pytest.raises(KeyboardInterrupt):
            broken.paint()
    assert len(list((tmp_path / "broken/batches").iterdir())) == 1
    again = compare("sds", out=tmp_path / "broken", steps=6)
    again.paint()
    assert files(tmp_path / "broken") == files(tmp_path / "whole")


@pytest.mark.slow
def test_kill_9_and_go_on(tiny, tmp_path):
    (tmp_path / "prompts.txt").write_text("red cat\na tree\n")
    options = ["--methods", "msd", "--seeds", "0", "--prior", str(tiny), "--steps", "120", "--ddim-steps", "2"]

    def command(out: str) -> list[str]:
        prompts = str(tmp_path / "prompts.txt")
        return [sys.executable, "-m", "modeseek", "compare", "--prompts", prompts, "--out", out, *options]

    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command("whole"), cwd=tmp_path, check=True, env=environment, capture_output=True, timeout=200)
    process = subprocess.Popen(command("cut"), cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
    for _ in range(2000):  # until a checkpoint is there
        if list((tmp_path / "cut").glob("batches/*/checkpoint.json")):
            break
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not list((tmp_path / "cut").glob("cells/msd/*"))
    subprocess.run(command("cut"), cwd=tmp_path, check=True, env=environment, capture_output=True, timeout=200)
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


def test_memory_options_leave_the_cells_as_they_are(compare, tmp_path):
    plain = compare("vsd", out=tmp_path / "plain")
    frugal = compare("vsd", out=tmp_path / "frugal", network_batch=1, vae_slicing=True, encoder_checkpointing=True)
    assert [c.mark for c in plain.cells(Contender("vsd"))] == [c.mark for c in frugal.cells(Contender("vsd"))]
    assert type(frugal.prior.denoiser.ask) is not type(plain.prior.denoiser.ask)
    for comparison in (plain, frugal):
        comparison.paint()
    ours, theirs = (finals(found(c, Contender("vsd"))) for c in (plain, frugal))
    assert float((ours - theirs).abs().max()) <= 1.01 / 255
