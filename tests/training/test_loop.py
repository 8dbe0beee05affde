"""The training loop: a run in two parts is the run in one; Muon; the manifest."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from training.data import check_manifest
from training.loop import learning_rate, train
from training.muon import Muon, orthogonalise


def build() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.SiLU(), nn.Conv2d(4, 3, 1))


def loss(model: nn.Module, step: int, generator: torch.Generator) -> Tensor:
    x = torch.randn(8, 2, 5, 5, generator=generator)
    return (model(x) - x.mean(1, keepdim=True)[..., 1:4, 1:4]).square().mean()


def run(folder: Path, steps: list[int], muon: bool) -> nn.Module:
    for until in steps:
        model = build()
        optimiser = Muon(model, 1e-2) if muon else None
        # the same length of schedule in each part; the part ends by its number of seconds in real life
        ema = train(model, loss, folder=folder, steps=until, peak_lr=1e-2, seed=3, optimiser=optimiser, save_every=2)
    return ema


@pytest.mark.parametrize("muon", [False, True])
def test_a_resumed_run_is_the_uninterrupted_one(muon, tmp_path, monkeypatch):
    monkeypatch.setattr("training.loop.learning_rate", lambda step, *, peak, steps: peak)
    whole, parts = run(tmp_path / "a", [9], muon), run(tmp_path / "b", [4, 7, 9], muon)
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("muon", [False, True])
def test_training_lowers_the_loss(muon, tmp_path):
    ema = run(tmp_path, [300], muon)
    fresh = loss(build(), 0, torch.Generator().manual_seed(99))
    assert loss(ema, 0, torch.Generator().manual_seed(99)) < 0.5 * fresh


def test_muon_moves_along_nearly_orthogonal_directions():
    """Singular values of the move lie in the band of the quintic iteration."""
    g = torch.randn(6, 20, generator=torch.Generator().manual_seed(1))
    for matrix in (g, g.T):
        values = torch.linalg.svdvals(orthogonalise(matrix))
        assert 0.6 < values.min() <= values.max() < 1.3


def test_the_rate_falls_at_the_end_only():
    rates = [learning_rate(k, peak=1.0, steps=1000) for k in range(1000)]
    assert rates[0] < 0.01
    assert all(r == 1.0 for r in rates[200:700])
    assert all(a >= b for a, b in itertools.pairwise(rates[700:]))
    assert rates[-1] < 0.02


def test_data_that_differ_from_the_manifest_are_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"picture")
    manifest = tmp_path / "manifest"
    manifest.write_text(hashlib.sha256(b"picture").hexdigest() + "  a.png\n")
    check_manifest(tmp_path, manifest)
    (tmp_path / "a.png").write_bytes(b"another")
    with pytest.raises(ValueError, match=r"a\.png must have SHA-256"):
        check_manifest(tmp_path, manifest)
    (tmp_path / "a.png").unlink()
    with pytest.raises(ValueError, match=r"a\.png is missing"):
        check_manifest(tmp_path, manifest)


def test_a_loss_that_is_not_finite_stops_the_training(tmp_path):
    with pytest.raises(FloatingPointError, match="at step 0"):
        train(build(), lambda m, k, g: loss(m, k, g) * float("nan"), folder=tmp_path, steps=2, peak_lr=1e-2, seed=0)
