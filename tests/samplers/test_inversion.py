import itertools
import math

import numpy as np
import pytest
import torch
from closed_forms import MU, POINTS, C, Rows, assert_moments, gaussian, mixture, order, t64

from modeseek.denoisers import MixtureDenoiser
from modeseek.errors import UsageError
from modeseek.noise import karras_sigmas
from modeseek.randomness import Streams
from modeseek.samplers import ddim, ddim_step, invert
from modeseek.samplers.inversion import rising_levels

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


# -- with fresh noise --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_eps", [math.inf, 1.0])
@pytest.mark.parametrize("end", [0.0, 0.02])
def test_without_fresh_noise_nothing_has_changed(max_eps, end):
    """DDIM-3: eta 0 is the deterministic inversion, bit for bit, with and without an rng."""
    x, sigmas = 3 * t64(POINTS), karras_sigmas(12, 0.05, 5.0, end=end)
    expected = [x]
    for sigma, sigma_next in itertools.pairwise(sigmas.flip(0).tolist()):
        z, seen = expected[-1], sigma or sigma_next
        eps_hat = (z - DENOISER(z, seen)) / seen
        if max_eps < math.inf:
            eps_hat = eps_hat * (max_eps / eps_hat.square().mean(1, keepdim=True).sqrt()).clamp(max=1)
        expected.append(z + (sigma_next - sigma) * eps_hat)
    for rng in (None, Streams.for_batch(0, 5)):
        z = invert(DENOISER, x, sigmas, max_eps=max_eps, rng=rng)
        assert all(torch.equal(a, b) for a, b in zip(z, expected[::-1], strict=True))


@pytest.mark.parametrize("eta", [0.0, 0.3, 0.8, 1.0])
def test_levels_add_up(eta):
    """DDIM-4: what is stepped to and what is drawn make the new level; the drawn share of the rise is eta^2."""
    for sigma, sigma_next in ((0.0, 0.1), (0.5, 0.6), (0.03, 14.0)):
        down, up = rising_levels(sigma, sigma_next, eta)
        assert down**2 + up**2 == pytest.approx(sigma_next**2)
        assert up**2 == pytest.approx(eta**2 * (sigma_next**2 - sigma**2))
        assert down >= sigma


def moments(sigmas: torch.Tensor, eta: float, covariance: np.ndarray) -> np.ndarray:
    """Covariance of z - MU up a grid on N(MU, C), where eps_hat = s (C + s^2)^-1 (z - MU), from that of x."""
    for s, s_next in itertools.pairwise(sigmas.flip(0).tolist()):
        up2 = eta**2 * (s_next**2 - s**2)
        seen = s or s_next
        gain = np.eye(2) + (np.sqrt(s_next**2 - up2) - s) * seen * np.linalg.inv(C + seen**2 * np.eye(2))
        covariance = gain @ covariance @ gain.T + up2 * np.eye(2)
    return covariance


@pytest.mark.parametrize("eta", [0.3, 0.8])
def test_moments_on_a_gaussian(eta):
    """DDIM-4: of few steps, in closed form, from one x and from data."""
    n, sigmas, model = 20_000, karras_sigmas(4, 0.1, 3.0), MixtureDenoiser(gaussian())
    data = gaussian().sample(n, rng=torch.Generator().manual_seed(1))
    z = invert(model, data, sigmas, eta=eta, rng=Streams.for_batch(0, n))[0]
    assert_moments(z, MU, moments(sigmas, eta, C))
    z = invert(model, t64(MU).expand(n, 2), sigmas, eta=eta, rng=Streams.for_batch(0, n))[0]
    assert_moments(z, MU, moments(sigmas, eta, np.zeros((2, 2))))


@pytest.mark.parametrize("eta", [0.0, 0.3, 0.8])
def test_data_become_noisy_data(eta):
    """DDIM-4: data N(MU, C) are inverted to N(MU, C + sigma^2 I), to first order in the step for any eta."""
    steps = (64, 128, 256, 512)
    truth = C + 25.0 * np.eye(2)
    # from a level so small that taking x to be noisy already does not show
    left = [moments(karras_sigmas(n, 1e-4, 5.0), eta, C) - truth for n in steps]
    errors = [np.linalg.norm(np.linalg.solve(truth, e), 2) for e in left]
    assert 0.8 <= order(errors, steps) <= 1.3, errors
    assert errors[-1] < 0.05


def test_all_fresh_noise_is_the_forward_process():
    """DDIM-4: eta 1 adds sqrt(sigma^2 - start^2) of noise, whatever the denoiser says."""
    n, x = 20_000, t64(POINTS[1])
    for sigmas in (karras_sigmas(3, 0.1, 2.0), t64([2.0, 0.5])):
        z = invert(DENOISER, x.expand(n, 2), sigmas, eta=1.0, rng=Streams.for_batch(0, n))[0]
        assert_moments(z, POINTS[1], (4.0 - float(sigmas[-1]) ** 2) * np.eye(2))


def test_fresh_noise_is_each_samples_own():
    """DDIM-4."""
    x, sigmas = t64(POINTS), karras_sigmas(6, 0.01, 5.0)
    together = invert(DENOISER, x, sigmas, eta=0.5, rng=Streams.for_batch(0, 5))[0]
    apart = [invert(DENOISER, x[i : i + 1], sigmas, eta=0.5, rng=Streams(0, [i]))[0] for i in range(5)]
    torch.testing.assert_close(together, torch.cat(apart))
    other = invert(DENOISER, x, sigmas, eta=0.5, rng=Streams.for_batch(1, 5))[0]
    assert float((together - other).abs().amax(1).min()) > 0.01


def test_refuses():
    x, sigmas = t64(POINTS), karras_sigmas(6, 0.01, 5.0)
    for eta in (-0.1, 1.1, math.nan):
        with pytest.raises(UsageError, match=r"eta must be in \[0, 1\]"):
            invert(DENOISER, x, sigmas, eta=eta, rng=Streams.for_batch(0, 5))
    with pytest.raises(UsageError, match="with an rng where it is above 0"):
        invert(DENOISER, x, sigmas, eta=0.3)
