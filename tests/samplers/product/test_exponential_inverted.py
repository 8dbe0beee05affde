import math

import pytest
import torch
from closed_forms import POINTS, Rows, mixture, order, still, t64

from modeseek.denoisers import MixtureDenoiser
from modeseek.guidance import CFG
from modeseek.methods import ProductOptions
from modeseek.noise import karras_sigmas
from modeseek.randomness import Streams
from modeseek.samplers import ddim_step, invert
from modeseek.samplers.product import ExponentialInverted, Grid
from modeseek.samplers.product.exponential import contractions

MODEL = MixtureDenoiser(mixture(), torch.tensor([0, 1, 0]))
X, EPS = t64(POINTS), t64(POINTS[::-1].copy())


def test_the_inversion_leads_back_to_x():
    """MSD-15, DDIM-3: without a kernel, plain sampling from the inversion's own noise returns x at first order."""
    steps, errors = (64, 128, 256, 512), []
    for n in steps:
        grid = Grid(karras_sigmas(n, 0.01, 5.0))
        anchors = invert(MODEL, X, grid.sigmas)
        y = ExponentialInverted(grid).solve(MODEL, X, 1e9, None, (anchors[0] - X) / 5.0, anchors)
        errors.append(float((y - X).norm()))
    assert 0.8 <= order(errors, steps) <= 1.3, errors


def test_with_a_kernel_the_inversion_is_pulled_to_itself():
    """MSD-15: started on the trajectory, the kernel holds it there; x comes back far better than without one."""
    grid = Grid(karras_sigmas(64, 0.01, 5.0))
    anchors = invert(MODEL, X, grid.sigmas)
    eps = (anchors[0] - X) / 5.0
    free = ExponentialInverted(grid).solve(MODEL, X, 1e9, None, eps, anchors)
    b = contractions(grid, 0.15, ProductOptions())[0]
    mixed = (1 - (1 - b**2) ** 0.5) / b * eps  # so that the start is anchors[0]
    held = ExponentialInverted(grid).solve(MODEL, X, 0.15, None, mixed, anchors)
    assert float((held - X).norm()) < 0.5 * float((free - X).norm())


@pytest.mark.parametrize(("printed", "variance"), [(False, 1.0), (True, 0.5)])
def test_variance_of_the_start(printed, variance):
    """MSD-15: at b = 1/2 the printed mix has half the variance, the corrected one all of it."""
    n, (sigma, sigma_next) = 40_000, (4.0, 1.0)
    h = math.sqrt((sigma**2 - sigma_next**2) / (2 * math.log(2)))  # b = exp(-kappa) = 1/2
    generator = torch.Generator().manual_seed(0)
    unit, eps = torch.randn(2, n, 1, generator=generator, dtype=torch.float64)
    x = torch.zeros(n, 1, dtype=torch.float64)
    rows = Rows(still)
    sampler = ExponentialInverted(Grid(t64([sigma, sigma_next, 0.0])), ProductOptions(printed_start=printed))
    sampler.solve(rows, x, h, None, eps, [sigma * unit, sigma_next * unit, x])
    assert float(rows.seen[0].var()) / sigma**2 == pytest.approx(variance, abs=5 * variance * math.sqrt(2 / n))


def test_start_is_centred_at_x():
    """MSD-15: x + sqrt(1 - b^2) (z* - x) + b sigma_max eps."""
    grid, h, rows = Grid(t64([2.0, 1.5, 0.0])), 1.1, Rows(still)
    anchors = [X + 3.0, X + 1.0, X]
    ExponentialInverted(grid).solve(rows, X, h, None, EPS, anchors)
    b = math.exp(-(2.0**2 - 1.5**2) / (2 * h**2))
    torch.testing.assert_close(rows.seen[0], X + math.sqrt(1 - b**2) * 3.0 + b * 2.0 * EPS)


def test_a_narrow_kernel_holds_x_where_nothing_is_guided():
    """MSD-15: the trajectory it is pulled to is the model's own, so that y - x is an error of the steps, not the shift.

    That holds for any bandwidth far below sigma_max; the true shift here is 0.3 to 0.8 long.
    """
    steps, errors = (64, 128, 256, 512), []
    for n in steps:
        grid = Grid(karras_sigmas(n, 0.01, 5.0))
        y = ExponentialInverted(grid).solve(MODEL, X, 0.5, None, EPS, invert(MODEL, X, grid.sigmas))
        errors.append(float((y - X).norm()))
    assert 0.8 <= order(errors, steps) <= 1.3, errors


def test_anchors_are_at_the_new_level():
    """MSD-15: with a kernel that pins, every step ends on the anchor of the level it stepped to, the last on x."""
    sigmas = t64([3.0, 2.0, 1.0, 0.5, 0.0])
    anchors = [X + k for k in (4.0, 3.0, 2.0, 1.0, 0.0)]
    rows = Rows(MODEL)
    y = ExponentialInverted(Grid(sigmas)).solve(rows, X, 1e-3, None, EPS, anchors)
    for seen, anchor in zip(rows.seen, anchors):
        torch.testing.assert_close(seen, anchor)
    torch.testing.assert_close(y, X)


def test_a_step_is_the_models_then_the_kernels():
    """MSD-15: z' = z*' + (ddim step - z*') exp(-kappa), written out for two steps."""
    h, sigmas = 0.9, [2.0, 1.0, 0.0]
    anchors = invert(MODEL, X, t64(sigmas))
    b = math.exp(-(2.0**2 - 1.0**2) / (2 * h**2))
    z = X + math.sqrt(1 - b**2) * (anchors[0] - X) + b * 2.0 * EPS
    for i, (sigma, sigma_next) in enumerate([(2.0, 1.0), (1.0, 0.0)]):
        z = ddim_step(z, MODEL(z, sigma), sigma, sigma_next)
        z = anchors[i + 1] + math.exp(-(sigma**2 - sigma_next**2) / (2 * h**2)) * (z - anchors[i + 1])
    y = ExponentialInverted(Grid(t64(sigmas))).solve(MODEL, X, h, None, EPS, anchors)
    torch.testing.assert_close(y, z)


def test_the_inversion_is_unguided_and_under_the_condition():
    """MSD-15, MSD-13: the plain model inverts with the same condition, the guided one samples."""
    cond, grid = torch.tensor([0, 1, 1, 0, 0]), Grid(karras_sigmas(6, 0.01, 5.0))
    plain, inner = Rows(MODEL), Rows(MODEL)
    guided = CFG(inner, 3.0)
    y = ExponentialInverted(grid, plain=plain)(guided, X, 0.5, cond, rng=Streams.for_batch(0, 5))
    assert (plain.rows / len(X), inner.rows / len(X)) == (6, 12)
    eps, anchors = Streams.for_batch(0, 5).normal((5, 2)).double(), invert(MODEL, X, grid.sigmas, cond)
    again = ExponentialInverted(grid).solve(guided, X, 0.5, cond, eps, anchors)
    torch.testing.assert_close(y, again)


def test_the_cap_reaches_the_inversion():
    """MSD-15, DDIM-3."""
    grid, x = Grid(karras_sigmas(6, 0.01, 5.0)), 30 * X
    options = ProductOptions(max_eps=1.0)
    y = ExponentialInverted(grid, options)(MODEL, x, 2.0, rng=Streams.for_batch(0, 5))
    eps = Streams.for_batch(0, 5).normal((5, 2)).double()
    capped = invert(MODEL, x, grid.sigmas, max_eps=1.0)
    torch.testing.assert_close(y, ExponentialInverted(grid).solve(MODEL, x, 2.0, None, eps, capped))
