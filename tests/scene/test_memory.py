"""What the system says about memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from modeseek.scene import memory


def test_the_nearer_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "GROUP", tmp_path)
    assert memory.available() is None
    (tmp_path / "meminfo").write_text("MemTotal: 4000 kB\nMemAvailable:   3000 kB\n")
    assert memory.available() == 3000 * 1024
    (tmp_path / "memory.max").write_text("2000000\n")
    (tmp_path / "memory.current").write_text("500000\n")
    assert memory.available() == 1500000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available() == 3000 * 1024


@pytest.mark.parametrize(
    ("size", "said"), [(17, "17 bytes"), (1536, "1.5 KiB"), (9 * 2**30, "9 GiB"), (2**52, "4.1e+03 TiB")]
)
def test_sizes_in_words(size: int, said: str) -> None:
    assert memory.in_words(size) == said
