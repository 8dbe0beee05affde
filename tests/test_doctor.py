"""The report, and the traps that it knows."""

from __future__ import annotations

import importlib
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch

from modeseek import doctor
from modeseek.shipped import POCKET, POCKET_CLIP


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """Versions that the report shall see instead of the true ones; None is not installed."""
    versions: dict[str, str | None] = {"torchvision": None}

    def version(name: str) -> str:
        found = versions.get(name, "") if name in versions else metadata.version(name)
        if found is None:
            raise metadata.PackageNotFoundError(name)
        return found

    class Metadata:
        PackageNotFoundError = metadata.PackageNotFoundError

    Metadata.version = staticmethod(version)  # type: ignore[attr-defined]
    monkeypatch.setattr(doctor, "metadata", Metadata)
    return versions


def test_a_healthy_place(installed: dict[str, str | None]) -> None:
    text, healthy = doctor.report()
    assert healthy
    assert "no known trap" in text
    assert "TRAP" not in text
    for name in doctor.NEEDED:
        assert f"{name:14} {metadata.version(name)}" in text
    assert f"threads: {torch.get_num_threads()} of" in text
    assert "devices: cpu" in text
    for folder in (POCKET, POCKET_CLIP):
        assert folder.name in text


@pytest.mark.parametrize("name", doctor.NEEDED)
def test_what_is_missing_is_named(installed: dict[str, str | None], name: str) -> None:
    installed[name] = None
    text, healthy = doctor.report()
    assert not healthy
    assert f"TRAP: {name} must be installed: pip install modeseek" in text


def test_what_is_optional_may_be_missing(installed: dict[str, str | None]) -> None:
    installed.update(dict.fromkeys(doctor.OPTIONAL))
    text, healthy = doctor.report()
    assert healthy
    assert "optional: none" in text
    installed["matplotlib"] = "9.9"
    assert "optional: matplotlib 9.9" in doctor.report()[0]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ('raise RuntimeError("operator torchvision::nms does not exist\\nmore")', "operator torchvision::nms does"),
        ('raise OSError("libcudart.so.12: cannot open shared object file")', "libcudart.so.12"),
        ("import torchvision._C_that_is_not_there", "_C_that_is_not_there"),
        ("raise AttributeError", "AttributeError"),
    ],
)
def test_a_broken_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, reason: str) -> None:
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(code)
    info = tmp_path / "torchvision-0.99.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 0.99\n")
    for module in [m for m in sys.modules if m.split(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.syspath_prepend(tmp_path)
    text, healthy = doctor.report()
    assert not healthy
    (trap,) = [line for line in text.splitlines() if line.startswith("TRAP")]
    assert reason in trap
    assert "pip uninstall torchvision" in trap


@pytest.mark.parametrize("name", ["diffusers", "transformers"])
def test_a_library_that_cannot_be_imported(
    installed: dict[str, str | None], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    real = importlib.import_module

    def broken(module: str, package: str | None = None) -> object:
        if module == name:
            raise ImportError("no such symbol")
        return real(module, package)

    monkeypatch.setattr(importlib, "import_module", broken)
    text, healthy = doctor.report()
    assert not healthy
    assert f"TRAP: {name} cannot be imported: ImportError: no such symbol" in text
