"""Packing: any condition comes back as it went in, and its rows stay with their samples."""

import pytest
import torch
from closed_forms import POINTS, Rows, mixture, t64

from modeseek.denoisers import MixtureDenoiser
from modeseek.denoisers.base import concatenate, repeat_cond
from modeseek.errors import UsageError
from modeseek.guidance import Packed, Unpacked, pack, unpack

TEXT, WEIGHTS, VIEW = torch.randn(3, 5, 2), torch.randn(3, 2), torch.randn(3, 4)
NEGATIVES = torch.randn(3, 2, 5, 2)
SDXL = {"text": TEXT, "pooled": torch.randn(3, 6), "time_ids": torch.ones(1, 6)}
PUSHED = {"text": NEGATIVES, "pooled": torch.randn(3, 2, 6), "time_ids": torch.ones(1, 2, 6)}


def same(a: object, b: object) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    return a is b is None or torch.equal(a, b)


@pytest.mark.parametrize(("cond", "negatives"), [(TEXT, NEGATIVES), (SDXL, PUSHED), (None, NEGATIVES)])
@pytest.mark.parametrize("pushing", [True, False])
@pytest.mark.parametrize("view", [VIEW, None])
def test_there_and_back(cond, negatives, pushing, view):
    parts = Packed(cond, negatives if pushing else None, WEIGHTS if pushing else None, view)
    found = unpack(pack(parts))
    assert same(found.cond, cond)
    assert same(found.negatives, parts.negatives)
    assert same(found.weights, parts.weights)
    assert same(found.view, view)
    if not pushing and view is None:
        assert pack(parts) is cond


def test_rows_travel_together():
    """What the samplers and estimators do to conditions, they do to every part."""
    packed = pack(Packed(SDXL, PUSHED, WEIGHTS, VIEW))
    twice = unpack(repeat_cond(packed, 2))
    assert torch.equal(twice.cond["text"], TEXT.repeat_interleave(2, 0))
    assert torch.equal(twice.negatives["text"], NEGATIVES.repeat_interleave(2, 0))
    assert torch.equal(twice.view, VIEW.repeat_interleave(2, 0))
    both = unpack(concatenate(packed, packed, 3))
    assert torch.equal(both.weights, torch.cat([WEIGHTS, WEIGHTS]))
    assert both.negatives["time_ids"].shape == (6, 2, 6)


def test_unpacked_asks_with_the_models_own_part():
    model = MixtureDenoiser(mixture(), torch.tensor([0, 1, 0]))
    z, label = t64(POINTS), torch.tensor([0, 1, 0, 1, 1])
    rows = Rows(model, sigma_min=0.1, sigma_max=3.0)
    plain = Unpacked(rows)
    assert torch.equal(plain(z, 0.4, pack(Packed(label, view=torch.zeros(5, 4)))), model(z, 0.4, label))
    assert torch.equal(plain(z, 0.4, label), model(z, 0.4, label))
    assert torch.equal(plain(z, 0.4), model(z, 0.4))
    assert (plain.cost(0.4), plain.sigma_min, plain.sigma_max) == (1, 0.1, 3.0)


def test_refuses():
    with pytest.raises(UsageError, match="negatives and their weights must come together"):
        Packed(TEXT, NEGATIVES)
    with pytest.raises(UsageError, match="negatives and their weights must come together"):
        Packed(TEXT, weights=WEIGHTS)
    with pytest.raises(UsageError, match=r"got \[\(3, 2, 5, 2\)\] for \(3, 3\)"):
        Packed(TEXT, NEGATIVES, torch.ones(3, 3))
    with pytest.raises(UsageError, match=r"negatives must be \(B, N, ...\) for weights \(B, N\)"):
        Packed(SDXL, PUSHED | {"pooled": torch.ones(3, 6)}, WEIGHTS)
