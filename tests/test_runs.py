"""A run on disk: every file is complete or absent, whatever happens."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from modeseek.errors import RunError
from modeseek.runs import CHECKPOINT, CONFIG, METRICS, PICTURES, Run, free_path, slug, write_atomic


class Killed(BaseException):
    """A kill: nothing catches it, nothing is tidied up."""


def failing(error: BaseException, call: int = 0) -> Callable[..., None]:
    """An operation of the operating system that raises at its ``call``-th call, and does nothing before."""
    left = [call]

    def operation(*args: Any, **kwargs: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise error

    return operation


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
READ_ONLY = OSError(errno.EROFS, os.strerror(errno.EROFS))


# -- write_atomic ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("data", "expected"), [(b"\x00\xff", b"\x00\xff"), ("Grüße\n", "Grüße\n".encode())])
def test_a_whole_file_is_written(tmp_path: Path, data: bytes | str, expected: bytes) -> None:
    path = tmp_path / "file"
    path.write_text("older and longer than the newer one")
    write_atomic(path, data)
    assert path.read_bytes() == expected
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("operation", ["fsync", "replace"])
@pytest.mark.parametrize(("error", "reason"), [(FULL, "No space left"), (READ_ONLY, "Read-only file system")])
def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str, error: OSError, reason: str
) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with monkeypatch.context() as broken:
        broken.setattr(os, operation, failing(error))
        with pytest.raises(RunError, match=f"{path} must be writable: {reason}"):
            write_atomic(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]
    write_atomic(path, "new")
    assert path.read_text() == "new"


@contextmanager
def small_files(limit: int) -> Iterator[None]:
    """No file may grow beyond ``limit`` bytes: writing stops in the middle, as on a full disk."""
    resource = pytest.importorskip("resource", reason="needs limits of a Unix process")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_stops_in_the_middle_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with small_files(1000), pytest.raises(RunError, match="must be writable: File too large"):
        write_atomic(path, b"x" * 100_000)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("operation", ["fsync", "replace"])
def test_a_kill_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with monkeypatch.context() as broken:
        broken.setattr(os, operation, failing(Killed()))
        with pytest.raises(Killed):
            write_atomic(path, "new and longer")
    assert path.read_text() == "old"
    write_atomic(path, "new")  # over what the kill left
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("path", ["/proc/nowhere/file", "/dev/full/file", "/dev/null/a/b"])
def test_nowhere_to_write(path: str) -> None:
    with pytest.raises(RunError, match=f"{path} must be writable"):
        write_atomic(Path(path), "new")


# -- create, open ------------------------------------------------------------------------------------------------------


def test_create_and_open(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    run = Run.create(path, "seed: 1\n")
    assert sorted(os.listdir(path)) == sorted([CONFIG, PICTURES])
    assert (run.config(), Run.open(path)) == ("seed: 1\n", run)


def test_create_refuses_what_exists(tmp_path: Path) -> None:
    Run.create(tmp_path / "run", "seed: 1\n")
    (tmp_path / "file").write_text("mine")
    for name in ("run", "file", ""):
        with pytest.raises(RunError, match=r"must not exist yet, but .* does; choose another or --overwrite it"):
            Run.create(tmp_path / name, "seed: 2\n")
    assert Run.open(tmp_path / "run").config() == "seed: 1\n"


def test_overwrite_replaces_a_run(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", "seed: 1\n")
    run.picture(3, b"old")
    run.log({"step": 1})
    again = Run.create(tmp_path / "run", "seed: 2\n", overwrite=True)
    assert (again.config(), again.pictures(), sorted(os.listdir(again.path))) == (
        "seed: 2\n",
        [],
        sorted([CONFIG, PICTURES]),
    )


def test_overwrite_replaces_nothing_but_a_run(tmp_path: Path) -> None:
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter.tex").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for path in (folder, tmp_path / "file"):
        with pytest.raises(RunError, match=rf"only a run directory can be overwritten; {path} holds no {CONFIG}"):
            Run.create(path, "", overwrite=True)
    assert ((folder / "chapter.tex").read_text(), (tmp_path / "file").read_text()) == ("mine", "mine")
    (tmp_path / "empty").mkdir()
    assert Run.create(tmp_path / "empty", "seed: 1\n", overwrite=True).config() == "seed: 1\n"


@pytest.mark.parametrize("path", ["/proc/x", "/dev/full/x", "/dev/null/a/b"])
def test_create_where_nothing_can_be_made(path: str) -> None:
    with pytest.raises(RunError, match=f"{path} must be writable"):
        Run.create(Path(path), "")


def test_create_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match="must be writable: Not a directory"):
        Run.create(tmp_path / "file" / "run", "")


def test_open_needs_a_run(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(RunError, match=rf"must hold a {CONFIG}; {path} does not"):
            Run.open(path)


def test_a_configuration_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RunError, match="must be readable text"):
        Run.open(tmp_path).config()


def test_free_path(tmp_path: Path) -> None:
    for expected in ("cat-msd", "cat-msd-2", "cat-msd-3"):
        path = free_path(tmp_path, "cat-msd")
        assert path == tmp_path / expected
        path.mkdir()


# -- checkpoints -------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run", "seed: 1\n")


def tensors(value: float) -> dict[str, Tensor]:
    return {
        "w": torch.full((3, 4), value).T,  # not contiguous
        "half": torch.full((2,), value, dtype=torch.bfloat16),
        "step": torch.tensor(value),
        "leaf": torch.full((2,), value, dtype=torch.float64, requires_grad=True),
    }


def loaded(run: Run) -> tuple[dict[str, Tensor], dict[str, Any]]:
    found = run.load()
    assert found is not None
    return found


def test_a_checkpoint_comes_back(run: Run) -> None:
    assert run.load() is None
    run.save(7, tensors(1.5), {"nfe": 3, "info": {"converged": False}})
    found, state = loaded(run)
    assert found.keys() == tensors(1.5).keys()
    assert all(torch.equal(v, found[k]) and v.dtype == found[k].dtype for k, v in tensors(1.5).items())
    assert (state["step"], state["nfe"], state["info"]) == (7, 3, {"converged": False})


def test_one_checkpoint_is_kept(run: Run) -> None:
    for step in (1, 2, 2, 3):
        run.save(step, tensors(step), {})
    assert [p.name for p in run.path.glob("checkpoint-*")] == ["checkpoint-000003.safetensors"]
    assert float(loaded(run)[0]["step"]) == 3


@pytest.mark.parametrize("operation", ["fsync", "replace"])
@pytest.mark.parametrize("call", [0, 1, 2])
@pytest.mark.parametrize("error", [Killed(), FULL])
def test_a_save_that_fails_leaves_the_older_checkpoint_or_the_newer(
    run: Run, monkeypatch: pytest.MonkeyPatch, operation: str, call: int, error: BaseException
) -> None:
    run.save(1, tensors(1), {})
    real, left = getattr(os, operation), [call]

    def sometimes(*args: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise error
        real(*args)

    with monkeypatch.context() as broken:
        broken.setattr(os, operation, sometimes)
        try:
            run.save(2, tensors(2), {})
            finished = True
        except (Killed, RunError):
            finished = False
    found, state = loaded(run)
    assert finished == (call == 2)  # two files, so the third call never comes
    assert state["step"] == float(found["step"]) == (2 if finished else 1)
    run.save(2, tensors(2), {})
    assert loaded(run)[1]["step"] == 2
    assert sorted(os.listdir(run.path)) == sorted([CONFIG, CHECKPOINT, PICTURES, "checkpoint-000002.safetensors"])


def test_a_kill_before_the_older_checkpoint_goes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.save(1, tensors(1), {})
    with monkeypatch.context() as broken:
        broken.setattr(Path, "unlink", failing(Killed()))
        with pytest.raises(Killed):
            run.save(2, tensors(2), {})
    assert loaded(run)[1]["step"] == 2
    run.save(3, tensors(3), {})
    assert [p.name for p in run.path.glob("checkpoint-*")] == ["checkpoint-000003.safetensors"]


def change(run: Run, **changes: Any) -> None:
    """Edit the checkpoint's JSON; None removes a key."""
    state = {**json.loads((run.path / CHECKPOINT).read_text()), **changes}
    (run.path / CHECKPOINT).write_text(json.dumps({k: v for k, v in state.items() if v is not None}))


@pytest.mark.parametrize("kept", [0, 1, 100, -1])
def test_damaged_tensors(run: Run, kept: int) -> None:
    run.save(1, tensors(1), {})
    path = run.path / "checkpoint-000001.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(RunError, match=r"checkpoint-000001\.safetensors must match the SHA-256.*damaged"):
        run.load()


def test_one_bit_of_the_tensors(run: Run) -> None:
    run.save(1, tensors(1), {})
    path = run.path / "checkpoint-000001.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(RunError, match="SHA-256"):
        run.load()


def test_tensors_that_are_gone(run: Run) -> None:
    run.save(1, tensors(1), {})
    (run.path / "checkpoint-000001.safetensors").unlink()
    with pytest.raises(RunError, match=f"{CHECKPOINT} must be a checkpoint that modeseek wrote"):
        run.load()


def test_tensors_of_another_kind(run: Run) -> None:
    import hashlib

    run.save(1, tensors(1), {})
    (run.path / "checkpoint-000001.safetensors").write_bytes(b"not these")
    change(run, sha256=hashlib.sha256(b"not these").hexdigest())
    with pytest.raises(RunError, match="must be a safetensors file"):
        run.load()


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '"text"', "{}", '{"step": 1}', '{"tensors": 3}', "\x00"])
def test_a_foreign_checkpoint(run: Run, text: str) -> None:
    (run.path / CHECKPOINT).write_text(text)
    with pytest.raises(RunError, match=f"{CHECKPOINT} must be a checkpoint that modeseek wrote"):
        run.load()


@pytest.mark.parametrize("other", [2, "1", None])
def test_another_format(run: Run, other: Any) -> None:
    run.save(1, tensors(1), {})
    change(run, format=other)
    with pytest.raises(RunError, match=f"must be of checkpoint format 1, got {other}"):
        run.load()


def test_without_a_digest(run: Run) -> None:
    run.save(1, tensors(1), {})
    change(run, sha256=None)
    with pytest.raises(RunError, match="SHA-256"):
        run.load()


# -- log and pictures --------------------------------------------------------------------------------------------------


def steps(run: Run) -> list[int]:
    return [json.loads(line)["step"] for line in (run.path / METRICS).read_text().splitlines()]


def test_cut_back(run: Run) -> None:
    for step in range(1, 8):
        run.log({"step": step, "seconds": 0.1})
    for step in (0, 2, 4, 6):
        run.picture(step, b"png")
    with open(run.path / METRICS, "a") as file:
        file.write('{"step": 3, "sec')  # a kill in the middle of a line
    run.cut_back(4)
    assert steps(run) == [1, 2, 3, 4]
    assert [p.name for p in run.pictures()] == ["step-000000.png", "step-000002.png", "step-000004.png"]
    run.cut_back(4)
    run.log({"step": 5})
    assert steps(run) == [1, 2, 3, 4, 5]
    run.cut_back(0)
    assert steps(run) == []
    assert [p.name for p in run.pictures()] == ["step-000000.png"]


def test_cut_back_drops_what_is_no_log_line(run: Run) -> None:
    (run.path / METRICS).write_text('{"step": 1}\nnonsense\n[1]\n{}\n{"step": 2}\n')
    run.cut_back(9)
    assert steps(run) == [1, 2]


def test_cut_back_without_a_log(run: Run) -> None:
    run.cut_back(0)
    assert not (run.path / METRICS).exists()


def test_a_log_that_cannot_be_written(run: Run) -> None:
    (run.path / METRICS).mkdir()
    with pytest.raises(RunError, match=f"{METRICS} must be writable: Is a directory"):
        run.log({"step": 1})


def test_a_full_disk_under_the_log(run: Run) -> None:
    run.log({"step": 1})
    run.save(1, tensors(1), {})
    with small_files(40), pytest.raises(RunError, match="must be writable: File too large"):
        run.log({"step": 2, "text": "x" * 100})
    run.cut_back(1)
    assert steps(run) == [1]


def test_pictures_in_the_order_of_steps(run: Run) -> None:
    for step in (10, 2, 100, 0):
        run.picture(step, bytes([step]))
    assert [p.read_bytes()[0] for p in run.pictures()] == [0, 2, 10, 100]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Red Cat!", "red-cat"), ("../../etc/passwd", "etc-passwd"), ("🐈", "prompt"), ("a" * 99, "a" * 40)],
)
def test_slug(text: str, expected: str) -> None:
    assert slug(text) == expected
