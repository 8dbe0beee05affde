"""The denoiser of a scene: each row has the data of its own view, and answers as the ideal denoiser of these would."""

import pytest
import torch

from modeseek.denoisers import IdealDenoiser
from modeseek.denoisers.per_view import PerViewIdeal
from modeseek.errors import UsageError
from modeseek.estimators import MSD, SDI, SDS, VSD, Particles
from modeseek.methods import PRODUCT_SAMPLERS, ProductOptions
from modeseek.noise import NoiseTable, karras_sigmas
from modeseek.randomness import Streams
from modeseek.samplers.product import Exact, Grid
from modeseek.schedules import Anneal

B, N, EVENT = 3, 5, (3, 4, 6)
G = torch.Generator().manual_seed(0)
VIEWS = torch.rand(B, N, *EVENT, generator=G, dtype=torch.float64)
Z = torch.rand(B, *EVENT, generator=G, dtype=torch.float64)
LEVELS = torch.tensor([0.2, 0.7, 3.0], dtype=torch.float64)
GRID = Grid(karras_sigmas(30, 0.05, 4.0))


@pytest.mark.parametrize("sigma", [0.3, 2.0, LEVELS])
def test_each_row_is_the_ideal_denoiser_of_its_view(sigma):
    """NERF-4: MSD-16 row by row."""
    x0, log_p = PerViewIdeal().both(Z, sigma, VIEWS)
    for i in range(B):
        level = float(sigma[i]) if isinstance(sigma, torch.Tensor) else sigma
        mean, log_q = IdealDenoiser(VIEWS[i]).both(Z[i : i + 1], level)
        torch.testing.assert_close(x0[i : i + 1], mean, rtol=0, atol=1e-12)
        torch.testing.assert_close(log_p[i : i + 1], log_q, rtol=1e-12, atol=1e-11)


def test_tweedie():
    """NERF-4: (D - z) / sigma^2 is the gradient of the log density, along random directions."""
    denoiser, h = PerViewIdeal(), 1e-5
    towards = torch.randn(Z.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ends = [denoiser.log_prob(Z + s * h * towards, LEVELS, VIEWS) for s in (1, -1)]
    slope = ((denoiser(Z, LEVELS, VIEWS) - Z) * towards).flatten(1).sum(1) / LEVELS**2
    torch.testing.assert_close(slope, (ends[0] - ends[1]) / (2 * h), rtol=1e-6, atol=1e-6)


def test_limits():
    """NERF-4: no noise gives the nearest picture, much noise their mean, and nothing is NaN far away."""
    nearest = (Z[:, None] - VIEWS).square().flatten(2).sum(2).argmin(1)
    torch.testing.assert_close(PerViewIdeal()(Z, 1e-3, VIEWS), VIEWS[range(B), nearest], rtol=0, atol=1e-12)
    torch.testing.assert_close(PerViewIdeal()(Z, 1e6, VIEWS), VIEWS.mean(1), rtol=0, atol=1e-9)
    far = PerViewIdeal().both(Z + 1e5, 1e-3, VIEWS)
    assert bool(far[0].isfinite().all() and far[1].isfinite().all())


def test_one_view_for_all_rows_and_single_precision():
    alone = PerViewIdeal()(Z, 0.5, VIEWS[:1])
    torch.testing.assert_close(alone, PerViewIdeal()(Z, 0.5, VIEWS[:1].expand(B, *VIEWS.shape[1:])), rtol=0, atol=0)
    single = PerViewIdeal()(Z.float(), 0.5, VIEWS.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), PerViewIdeal()(Z, 0.5, VIEWS), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", PRODUCT_SAMPLERS)
def test_every_product_sampler(name):
    """Each row gets what the sampler gives with the ideal denoiser of its view alone."""

    def build(denoiser):
        options = ProductOptions(data_variance=0.1, max_eps=1.0)
        return PRODUCT_SAMPLERS[name].load().build(GRID, options, denoiser)

    together = build(PerViewIdeal())(PerViewIdeal(), Z, 1.5, VIEWS, rng=Streams.for_batch(0, B))
    for i in range(B):
        ideal = IdealDenoiser(VIEWS[i])
        alone = build(ideal)(ideal, Z[i : i + 1], 1.5, rng=Streams(0, [i]))
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-9, atol=1e-9)


def _estimators(denoiser):
    table = NoiseTable.vp(1000)
    yield SDS(denoiser, table)
    yield SDI(denoiser, table, inverse=denoiser, time=Anneal(0.9, 0.3, 10), sigma_start=1.0, max_eps=1.0)
    yield VSD(denoiser, table, Particles(particles=Z))
    yield MSD(denoiser, Exact(GRID), 1.5, n_samples=2)


@pytest.mark.parametrize("which", range(4), ids=["sds", "sdi", "vsd", "msd"])
def test_every_estimator(which):
    """The same target, row by row, as with the ideal denoiser of the view."""
    estimator = list(_estimators(PerViewIdeal()))[which]
    together = estimator(Z, VIEWS, rng=Streams.for_batch(3, B)).target
    for i in range(B):
        alone = list(_estimators(IdealDenoiser(VIEWS[i])))[which](Z[i : i + 1], rng=Streams(3, [i])).target
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-8, atol=1e-8)


def test_is_a_denoiser():
    denoiser = PerViewIdeal(sigma_max=7.0)
    assert (denoiser.sigma_min, denoiser.sigma_max, denoiser.cost(1.0)) == (0.0, 7.0, 1)


@pytest.mark.parametrize(
    ("cond", "sigma", "match"),
    [
        (None, 0.1, "pictures of each row's view.*NoneType"),
        ({"view": VIEWS}, 0.1, "got dict"),
        (VIEWS[:, 0], 0.1, "got \\(3, 3, 4, 6\\)"),
        (VIEWS[..., :5], 0.1, "got \\(3, 5, 3, 4, 5\\)"),
        (VIEWS[:, :0], 0.1, "got \\(3, 0, 3, 4, 6\\)"),
        (VIEWS[:2], 0.1, "1 or 3 rows, got 2"),
        (VIEWS * torch.nan, 0.1, "must be finite"),
        (VIEWS, 0.0, "sigma must be positive, got 0"),
        (VIEWS, LEVELS - 0.2, "sigma must be positive, got 0"),
    ],
)
def test_refuses(cond, sigma, match):
    with pytest.raises(UsageError, match=match):
        PerViewIdeal()(Z, sigma, cond)
