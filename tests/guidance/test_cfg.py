import pytest
import torch
from closed_forms import POINTS, Rows, mixture, t64

from modeseek.denoisers import MixtureDenoiser
from modeseek.guidance import CFG

MODEL = MixtureDenoiser(mixture(), torch.tensor([0, 1, 0]))
Z, COND = t64(POINTS), torch.tensor([0, 1, 0, 1, 1])


@pytest.mark.parametrize("scale", [-1.5, 0.0, 2.0, 8.5])
@pytest.mark.parametrize("uncond", [None, torch.tensor([1]), torch.tensor([1, 1, 0, 0, 1])])
def test_formula(scale, uncond):
    """MSD-13: with scale = 1 + w, x0 = (1 + w) cond - w uncond; also where both travel in one batch."""
    w = scale - 1
    for sigma in (0.4, t64([0.1, 0.2, 0.5, 1.0, 5.0])):
        expected = (1 + w) * MODEL(Z, sigma, COND) - w * MODEL(Z, sigma, uncond)
        torch.testing.assert_close(CFG(MODEL, scale, uncond)(Z, sigma, COND), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("uncond", [None, torch.tensor([1])])
def test_scale_one_is_the_model_at_its_cost(uncond):
    """MSD-13."""
    rows = Rows(MODEL)
    guided = CFG(rows, 1.0, uncond)
    assert torch.equal(guided(Z, 0.4, COND), MODEL(Z, 0.4, COND))
    assert (rows.rows, guided.cost(0.4)) == (len(Z), 1)


@pytest.mark.parametrize(("uncond", "calls"), [(None, 2), (torch.tensor([1]), 1)])
def test_costs_twice_and_travels_in_one_batch(uncond, calls):
    """MSD-13."""
    rows = Rows(MODEL, sigma_min=0.1, sigma_max=3.0)
    guided = CFG(rows, 3.0, uncond)
    guided(Z, 0.4, COND)
    assert (rows.rows, len(rows.levels), guided.cost(0.4)) == (2 * len(Z), calls, 2)
    assert (guided.sigma_min, guided.sigma_max) == (0.1, 3.0)


def test_both_branches_equal_without_a_condition():
    """MSD-13: the guidance of None against None is nothing."""
    torch.testing.assert_close(CFG(MODEL, 8.5)(Z, 0.4), MODEL(Z, 0.4))
