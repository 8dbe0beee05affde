import pytest
import torch
from closed_forms import POINTS, Rows, mixture, t64

from modeseek.denoisers import MixtureDenoiser
from modeseek.errors import UsageError
from modeseek.guidance import CFG, LimitedInterval

MODEL = MixtureDenoiser(mixture(), torch.tensor([0, 1, 0]))
Z, COND = t64(POINTS), torch.tensor([0, 1, 0, 1, 1])
GUIDED = CFG(MODEL, 4.0)


@pytest.mark.parametrize(("sigma", "inside"), [(0.1, False), (0.2, True), (0.7, True), (1.0, True), (1.1, False)])
def test_guides_inside_alone(sigma, inside):
    """CFG-2: the ends belong to the interval."""
    rows = Rows(MODEL)
    limited = LimitedInterval(CFG(rows, 4.0), rows, 0.2, 1.0)
    expected = (GUIDED if inside else MODEL)(Z, sigma, COND)
    torch.testing.assert_close(limited(Z, sigma, COND), expected, rtol=0, atol=0)
    assert (rows.rows / len(Z), limited.cost(sigma)) == ((2, 2) if inside else (1, 1))


def test_each_row_by_its_own_level():
    """CFG-2."""
    rows = Rows(MODEL)
    limited = LimitedInterval(CFG(rows, 4.0), rows, 0.2, 1.0)
    sigma = t64([0.1, 0.2, 0.7, 1.0, 1.1])
    inside = torch.tensor([False, True, True, True, False])
    expected = torch.where(inside[:, None], GUIDED(Z, sigma, COND), MODEL(Z, sigma, COND))
    torch.testing.assert_close(limited(Z, sigma, COND), expected, rtol=0, atol=1e-14)
    assert rows.rows / len(Z) == limited.cost(sigma) == 3


@pytest.mark.parametrize("sigma", [[0.05, 0.1, 0.1, 0.1, 0.15], [2.0, 3.0, 2.0, 2.0, 2.0], [0.1, 0.1, 9.0, 9.0, 9.0]])
def test_a_batch_outside_is_not_guided(sigma):
    """CFG-2: also where its levels lie on both sides; the cost is of what is called."""
    rows = Rows(MODEL)
    limited = LimitedInterval(CFG(rows, 4.0), rows, 0.2, 1.0)
    torch.testing.assert_close(limited(Z, t64(sigma), COND), MODEL(Z, t64(sigma), COND), rtol=0, atol=1e-14)
    assert rows.rows / len(Z) == limited.cost(t64(sigma))


def test_knows_the_models_limits():
    limited = LimitedInterval(Rows(MODEL, 0.1, 3.0), MODEL, 0.2, 1.0)
    assert (limited.sigma_min, limited.sigma_max) == (0.1, 3.0)


@pytest.mark.parametrize(("low", "high"), [(-0.1, 1.0), (1.0, 1.0), (2.0, 1.0)])
def test_refuses(low, high):
    with pytest.raises(UsageError, match="0 <= low < high"):
        LimitedInterval(GUIDED, MODEL, low, high)
