import math

import numpy as np
import pytest
import torch
from closed_forms import t64
from hypothesis import given, settings
from hypothesis import strategies as st

from modeseek.errors import UsageError
from modeseek.noise import (
    NoiseTable,
    check_sigmas,
    column,
    eps_from_x0,
    flow_from_x0,
    karras_sigmas,
    largest,
    score_from_x0,
    smallest,
    v_from_x0,
    vp_scale,
    x0_from_eps,
    x0_from_flow,
    x0_from_score,
    x0_from_v,
)

number = st.floats(-100, 100, allow_nan=False)
level = st.floats(1e-3, 1e3)
PAIRS = [(eps_from_x0, x0_from_eps), (score_from_x0, x0_from_score), (v_from_x0, x0_from_v)]
PAIRS += [(flow_from_x0, x0_from_flow)]


@pytest.mark.parametrize(("there", "back"), PAIRS)
@given(z=st.lists(number, min_size=3, max_size=3), x0=st.lists(number, min_size=3, max_size=3), sigma=level)
@settings(max_examples=60, deadline=None)
def test_conversions_round_trip(there, back, z, x0, sigma):
    """SIGMA-1, SIGMA-2, SIGMA-3, SIGMA-4: to what a network predicts and back."""
    z, x0 = t64([z]), t64([x0])
    scale = float(z.abs().max() + x0.abs().max()) * max(1.0, sigma)
    torch.testing.assert_close(back(z, sigma, there(z, sigma, x0)), x0, rtol=0, atol=1e-12 * scale)


@given(x=number, eps=st.floats(-5, 5), sigma=level)
@settings(max_examples=60, deadline=None)
def test_conversions_recover_what_made_z(x, eps, sigma):
    """SIGMA-1, SIGMA-2: at z = x + sigma eps with x denoised, the noise is eps and the score -eps / sigma."""
    x, eps = t64([[x]]), t64([[eps]])
    z = x + sigma * eps
    atol = 1e-12 * (1 + float(x.abs()) / sigma) * max(1, 1 / sigma)
    torch.testing.assert_close(eps_from_x0(z, sigma, x), eps, rtol=1e-9, atol=atol)
    torch.testing.assert_close(score_from_x0(z, sigma, x), -eps / sigma, rtol=1e-9, atol=atol)


@pytest.mark.parametrize("abar", [0.9999, 0.7, 0.1, 0.005])
def test_variance_preserving_models_agree_with_ddim_scheduler(abar):
    """SIGMA-3: diffusers' DDIMScheduler.step, its three prediction types written out in its own coordinates."""
    generator = torch.Generator().manual_seed(0)
    x, eps = torch.randn(2, 4, 5, generator=generator, dtype=torch.float64)
    alpha_prod, beta_prod = abar, 1 - abar
    sample = alpha_prod**0.5 * x + beta_prod**0.5 * eps  # add_noise
    velocity = alpha_prod**0.5 * eps - beta_prod**0.5 * x  # get_velocity
    pred_from_eps = (sample - beta_prod**0.5 * eps) / alpha_prod**0.5
    pred_from_v = alpha_prod**0.5 * sample - beta_prod**0.5 * velocity

    sigma = math.sqrt((1 - abar) / abar)
    z = x + sigma * eps
    torch.testing.assert_close(vp_scale(sigma, z) * z, sample, rtol=0, atol=1e-12)
    torch.testing.assert_close(v_from_x0(z, sigma, x), velocity, rtol=0, atol=1e-11)
    torch.testing.assert_close(x0_from_eps(z, sigma, eps), pred_from_eps, rtol=0, atol=1e-11)
    torch.testing.assert_close(x0_from_v(z, sigma, velocity), pred_from_v, rtol=0, atol=1e-11)
    torch.testing.assert_close(pred_from_v, x, rtol=0, atol=1e-11)


@pytest.mark.parametrize("tau", [0.001, 0.3, 0.5, 0.99])
def test_flow_models_agree_with_flow_match_scheduler(tau):
    """SIGMA-4: diffusers' FlowMatchEulerDiscreteScheduler, sample = (1 - tau) x + tau eps, output eps - x."""
    generator = torch.Generator().manual_seed(1)
    x, eps = torch.randn(2, 4, 5, generator=generator, dtype=torch.float64)
    sample, output = (1 - tau) * x + tau * eps, eps - x
    one_step_to_zero = sample + (0 - tau) * output  # prev_sample = sample + (sigma_next - sigma) * model_output

    sigma = tau / (1 - tau)
    z = sample / (1 - tau)
    torch.testing.assert_close(z, x + sigma * eps, rtol=0, atol=1e-11)
    torch.testing.assert_close(x0_from_flow(z, sigma, output), one_step_to_zero, rtol=0, atol=1e-11)
    torch.testing.assert_close(flow_from_x0(z, sigma, x), output, rtol=0, atol=1e-11)


@pytest.mark.parametrize(("there", "back"), PAIRS)
def test_one_level_per_sample(there, back):
    """SIGMA-1, SIGMA-2, SIGMA-3, SIGMA-4: levels (B,) act row by row, on events of any shape."""
    generator = torch.Generator().manual_seed(2)
    z, x0 = torch.randn(2, 3, 2, 4, generator=generator, dtype=torch.float64)
    sigmas = t64([0.1, 1.0, 7.0])
    for convert in (there, back):
        rows = torch.cat([convert(z[i : i + 1], float(s), x0[i : i + 1]) for i, s in enumerate(sigmas)])
        torch.testing.assert_close(convert(z, sigmas, x0), rows, rtol=1e-14, atol=1e-14)


def test_column_and_ends():
    like = torch.zeros(3, 2, 2)
    assert column(0.5, like).shape == ()
    assert column(t64([1.0, 2.0, 3.0]), like).shape == (3, 1, 1)
    assert column(t64([1.0, 2.0, 3.0]), like).dtype == torch.float32
    assert (largest(t64([1.0, 3.0])), smallest(t64([1.0, 3.0]))) == (3.0, 1.0)
    assert (largest(2), smallest(2)) == (2.0, 2.0)


@pytest.mark.parametrize("rho", [1.0, 7.0])
def test_karras_grid(rho):
    n, low, high = 18, 0.002, 80.0
    i = np.arange(n)
    expected = (high ** (1 / rho) + i / (n - 1) * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    sigmas = karras_sigmas(n, low, high, rho)
    assert sigmas.dtype == torch.float64
    np.testing.assert_allclose(sigmas.numpy(), [*expected, 0.0], rtol=1e-12)
    assert float(karras_sigmas(n, low, high, rho, end=0.001)[-1]) == 0.001
    np.testing.assert_allclose(karras_sigmas(1, low, high, rho).numpy(), [high, 0.0], rtol=1e-12)


@pytest.mark.parametrize(("steps", "low", "high"), [(0, 0.1, 1.0), (4, 0.0, 1.0), (4, 1.0, 1.0), (4, 2.0, 1.0)])
def test_karras_grid_refuses(steps, low, high):
    with pytest.raises(UsageError, match="must"):
        karras_sigmas(steps, low, high)


@pytest.mark.parametrize("sigmas", [[1.0], [0.5, 1.0], [1.0, 1.0, 0.0], [1.0, -0.1], [[1.0, 0.5]], [1.0, math.nan]])
def test_grids_that_do_not_fall_are_refused(sigmas):
    with pytest.raises(UsageError, match="falling"):
        check_sigmas(t64(sigmas))


def test_a_falling_grid_comes_back():
    sigmas = t64([1.0, 0.5, 0.0])
    assert check_sigmas(sigmas) is sigmas


def test_vp_table_is_scaled_linear_of_diffusers():
    """SIGMA-3: diffusers computes its table in float32."""
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    table = NoiseTable.vp()
    abar = scheduler.alphas_cumprod.double()
    assert len(table) == 1000
    torch.testing.assert_close(table.sigmas, ((1 - abar) / abar).sqrt(), rtol=1e-4, atol=0)
    assert (round(table.sigma_min, 4), round(table.sigma_max, 2)) == (0.0292, 14.61)
    again = NoiseTable.from_alphas_cumprod(scheduler.alphas_cumprod)
    torch.testing.assert_close(again.sigmas, table.sigmas, rtol=1e-4, atol=0)


def test_vp_table_in_float64():
    """SIGMA-3: the same product in NumPy."""
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    abar = np.cumprod(1 - betas)
    np.testing.assert_allclose(NoiseTable.vp().sigmas.numpy(), np.sqrt((1 - abar) / abar), rtol=1e-12)


def test_timestep_of_a_level():
    table = NoiseTable.vp()
    t = torch.tensor([0, 1, 17, 500, 998, 999])
    torch.testing.assert_close(table.timestep(table.sigma(t)), t.double(), rtol=0, atol=1e-9)
    between = (table.sigma(t[1:2]) * table.sigma(t[1:2] + 1)).sqrt()  # halfway in log sigma
    torch.testing.assert_close(table.timestep(between), t64([1.5]), rtol=0, atol=1e-9)
    outside = table.timestep(t64([[1e-6, 1e6]]))
    torch.testing.assert_close(outside, t64([[0.0, 999.0]]), rtol=0, atol=1e-9)
    assert table.timestep(t64(1.0)).shape == ()


@given(t=st.floats(0, 999))
@settings(max_examples=60, deadline=None)
def test_timestep_inverts_interpolation_in_log_sigma(t):
    table = NoiseTable.vp()
    log_sigma = np.interp(t, np.arange(1000), np.log(table.sigmas.numpy()))
    assert float(table.timestep(t64(np.exp(log_sigma)))) == pytest.approx(t, abs=1e-8)


def test_zero_terminal_snr_is_cut_to_the_nearest_finite_level():
    abar = t64([0.9, 0.5, 0.1, 0.0])
    table = NoiseTable.from_alphas_cumprod(abar)
    np.testing.assert_allclose(table.sigmas.numpy(), [1 / 3, 1.0, 3.0], rtol=1e-12)
    assert table.sigma_max == pytest.approx(3.0)


def test_karras_table_rises():
    table = NoiseTable.karras(10, 0.01, 5.0)
    torch.testing.assert_close(table.sigmas.flip(0), karras_sigmas(10, 0.01, 5.0)[:-1])


@pytest.mark.parametrize("sigmas", [[1.0], [0.0, 1.0], [1.0, 0.5], [[0.1, 0.2]]])
def test_tables_that_do_not_rise_are_refused(sigmas):
    with pytest.raises(UsageError, match="rising"):
        NoiseTable(t64(sigmas))


def test_span_is_dreamfusions():
    """The 0.02 and 0.98 of DreamFusion are timesteps 20 and 980, both included, as in threestudio."""
    table = NoiseTable.vp()
    assert table.span(0.02, 0.98) == (20, 980)
    assert table.span(0.0, 1.0) == (0, 999)
    assert table.span(1.0, 1.0) == (999, 999)
    for low, high in [(-0.1, 1.0), (0.5, 0.4), (0.0, 1.1)]:
        with pytest.raises(UsageError, match="time range"):
            table.span(low, high)
