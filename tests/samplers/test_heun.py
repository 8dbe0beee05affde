import numpy as np
import pytest
import torch
from closed_forms import MU, POINTS, C, Rows, gaussian, mixture, order, t64
from scipy import integrate, linalg

from modeseek.denoisers import MixtureDenoiser
from modeseek.errors import UsageError
from modeseek.noise import karras_sigmas
from modeseek.samplers import ddim, heun

GAUSSIAN = MixtureDenoiser(gaussian())


def test_second_order_on_a_gaussian():
    """HEUN-1: against the closed solution, down to a level above 0; Euler is far behind."""
    steps, z = (16, 32, 64, 128), 5.0 * t64(POINTS)
    wide, narrow = (linalg.sqrtm(C + s**2 * np.eye(2)).real for s in (5.0, 0.05))
    expected = t64(MU + (z.numpy() - MU) @ np.linalg.inv(wide) @ narrow)
    grids = [karras_sigmas(n + 1, 0.05, 5.0)[:-1] for n in steps]
    errors = [float((heun(GAUSSIAN, z, g) - expected).norm()) for g in grids]
    assert 1.8 <= order(errors, steps) <= 2.3, errors
    assert errors[-1] < 0.02 * float((ddim(GAUSSIAN, z, grids[-1]) - expected).norm())


def test_agrees_with_scipy_on_a_mixture():
    """HEUN-1: an adaptive integrator of high order solves the same equation."""
    denoiser = MixtureDenoiser(mixture())

    def slope(sigma: float, flat: np.ndarray) -> np.ndarray:
        z = t64(flat.reshape(-1, 2))
        return ((z - denoiser(z, sigma)) / sigma).numpy().ravel()

    solved = integrate.solve_ivp(slope, (5.0, 0.02), 5.0 * POINTS.ravel(), rtol=1e-9, atol=1e-10)
    ours = heun(denoiser, 5.0 * t64(POINTS), karras_sigmas(257, 0.02, 5.0)[:-1])
    torch.testing.assert_close(ours, t64(solved.y[:, -1].reshape(-1, 2)), rtol=0, atol=2e-4)


@pytest.mark.parametrize(("end", "nfe"), [(0.0, 2 * 6 - 1), (0.001, 2 * 6)])
def test_evaluations(end, nfe):
    """HEUN-1: the last step to 0 is Euler's."""
    rows = Rows(GAUSSIAN)
    heun(rows, t64(POINTS), karras_sigmas(6, end=end))
    assert rows.rows / len(POINTS) == nfe


def test_refuses_a_rising_grid():
    with pytest.raises(UsageError, match="falling"):
        heun(GAUSSIAN, t64(POINTS), karras_sigmas(4).flip(0))
