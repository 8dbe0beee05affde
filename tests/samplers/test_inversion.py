import math

import pytest
import torch
from closed_forms import POINTS, Rows, mixture, order, t64

from modeseek.denoisers import MixtureDenoiser
from modeseek.noise import karras_sigmas
from modeseek.samplers import ddim, ddim_step, invert

DENOISER = MixtureDenoiser(mixture(), torch.tensor([0, 1, 0]))


def test_sampling_undoes_inversion_to_first_order():
    """DDIM-3: what inversion finds, DDIM brings back; the difference falls with the number of steps."""
    steps, x = (64, 128, 256, 512), t64(POINTS)
    errors = []
    for n in steps:
        sigmas = karras_sigmas(n, 0.01, 5.0)
        errors.append(float((ddim(DENOISER, invert(DENOISER, x, sigmas)[0], sigmas) - x).norm()))
    assert 0.8 <= order(errors, steps) <= 1.3, errors
    assert errors[-1] < 0.1


def test_is_the_ddim_step_with_sigma_rising():
    """DDIM-3: one z for every level, in the grid's order; where the last is 0, eps_hat is that of the level above."""
    x, sigmas = t64(POINTS), t64([2.0, 0.7, 0.2, 0.0])
    levels = sigmas.tolist()
    z = invert(DENOISER, x, sigmas)
    assert len(z) == 4
    assert torch.equal(z[3], x)
    torch.testing.assert_close(z[2], x + 0.2 * (x - DENOISER(x, 0.2)) / 0.2)
    for k in (2, 1):
        torch.testing.assert_close(z[k - 1], ddim_step(z[k], DENOISER(z[k], levels[k]), levels[k], levels[k - 1]))


def test_starts_at_a_level_above_zero():
    """DDIM-3."""
    x = t64(POINTS)
    z = invert(DENOISER, x, t64([0.7, 0.2]))
    torch.testing.assert_close(z[0], ddim_step(x, DENOISER(x, 0.2), 0.2, 0.7))


def test_rows_have_their_conditions():
    """DDIM-3."""
    x, sigmas = t64(POINTS), karras_sigmas(6, 0.01, 5.0)
    cond = torch.tensor([0, 1, 1, 0, 0])
    together = invert(DENOISER, x, sigmas, cond)[0]
    apart = torch.cat([invert(DENOISER, x[i : i + 1], sigmas, cond[i : i + 1])[0] for i in range(5)])
    torch.testing.assert_close(together, apart)


def test_cap_on_the_noise():
    """DDIM-3: far off the data eps_hat is many units; capped, no step moves by more than max_eps, root mean square."""
    x, sigmas = 30 * t64(POINTS), karras_sigmas(12, 0.01, 5.0)
    rises = -sigmas.diff()

    def moves(max_eps: float) -> torch.Tensor:
        z = torch.stack(invert(DENOISER, x, sigmas, max_eps=max_eps))
        return (z[:-1] - z[1:]).square().mean(-1).sqrt() / rises[:, None]

    assert float(moves(math.inf).max()) > 10
    capped = moves(1.0)
    assert float(capped.max()) == pytest.approx(1.0)
    near = invert(DENOISER, x, sigmas, max_eps=1e9)
    torch.testing.assert_close(near, invert(DENOISER, x, sigmas))


def test_cap_keeps_the_direction():
    """DDIM-3."""
    x, sigmas = 30 * t64(POINTS[1:]), t64([0.5, 0.1])
    free, capped = (invert(DENOISER, x, sigmas, max_eps=m)[0] - x for m in (math.inf, 1.0))
    cosines = torch.nn.functional.cosine_similarity(free, capped)
    torch.testing.assert_close(cosines, torch.ones_like(cosines))


def test_one_evaluation_a_step():
    rows = Rows(DENOISER)
    invert(rows, t64(POINTS), karras_sigmas(9))
    assert rows.rows / len(POINTS) == 9
