import pytest
import torch
from closed_forms import Rows, mixture, still, t64

from modeseek.denoisers import Counting, MixtureDenoiser
from modeseek.denoisers.base import check_level, concatenate, repeat_cond, spread
from modeseek.errors import UsageError


def test_counting():
    rows = Rows(still, sigma_min=0.1, sigma_max=5.0)
    counted = Counting(rows)
    z = torch.zeros(3, 2)
    counted(z, 1.0), counted(z, t64([0.1, 1.0, 2.0]))
    assert (counted.nfe, rows.rows, counted.clamped) == (2, 6, False)
    assert (counted.sigma_min, counted.sigma_max, counted.cost(1.0)) == (0.1, 5.0, 1)
    counted(z, t64([0.09, 1.0, 2.0]))
    assert (counted.nfe, counted.clamped) == (3, True)


def test_a_rounded_table_level_is_not_clamped():
    counted = Counting(Rows(still, sigma_min=0.1))
    counted(torch.zeros(1, 1), torch.tensor([0.1], dtype=torch.float32) * (1 - 1e-7))
    assert not counted.clamped


def test_a_level_above_the_models_is_refused():
    denoiser = MixtureDenoiser(mixture(), sigma_max=5.0)
    check_level(denoiser, 5.0 * (1 + 1e-7), "sigma")
    with pytest.raises(UsageError, match="bandwidth must be at most the model's sigma_max 5, got 6"):
        check_level(denoiser, t64([1.0, 6.0]), "bandwidth")


def test_conditions():
    a, b = torch.arange(2.0)[:, None], torch.full((1, 1), 7.0)
    assert concatenate(a, b, 2)[:, 0].tolist() == [0, 1, 7, 7]
    both = concatenate({"text": a, "pooled": b}, {"text": b, "pooled": b}, 2)
    assert both["text"][:, 0].tolist() == [0, 1, 7, 7]
    assert both["pooled"][:, 0].tolist() == [7, 7, 7, 7]
    with pytest.raises(UsageError, match="one kind, got Tensor and NoneType"):
        concatenate(a, None, 2)
    with pytest.raises(UsageError, match="1 or 3 rows, got 2"):
        spread(a, 3)
    assert repeat_cond(a, 3)[:, 0].tolist() == [0, 0, 0, 1, 1, 1]
    assert repeat_cond(b, 3).shape == (1, 1)
    assert repeat_cond({"text": a, "pooled": b}, 2)["text"].shape == (4, 1)
    assert repeat_cond(None, 2) is None
