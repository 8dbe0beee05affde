"""What every product sampler must do; a name added to ``methods.PRODUCT_SAMPLERS`` is tested here by itself."""

import random
from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
import torch
from closed_forms import POINTS, Rows, mixture, t64

from modeseek.denoisers import Counting, Denoiser, MixtureDenoiser
from modeseek.errors import UsageError
from modeseek.guidance import CFG, LimitedInterval
from modeseek.methods import PRODUCT_SAMPLERS, ProductOptions, ProductSamplerName
from modeseek.noise import karras_sigmas
from modeseek.randomness import Streams
from modeseek.samplers.product import Grid, ProductSampler

SIGMAS = karras_sigmas(40, 0.01, 2.5)  # short steps, so that summed is stable at H
GRID = Grid(SIGMAS, torch.linspace(999, 0, 41, dtype=torch.float64))
CLASSES, COND = torch.tensor([0, 1, 0]), torch.tensor([0, 1, 1, 0, 1])
X, H = t64(POINTS), 0.6
B = len(POINTS)

pytestmark = pytest.mark.parametrize("name", PRODUCT_SAMPLERS)


def model(dtype: torch.dtype = torch.float64) -> MixtureDenoiser:
    return MixtureDenoiser(mixture(dtype), CLASSES, sigma_max=10.0)


def build(name: str, plain: Denoiser | None = None, grid: Grid = GRID, **options: object) -> ProductSampler:
    return PRODUCT_SAMPLERS[name].load().build(grid, ProductOptions(**options), plain or model())


def test_is_a_name_of_the_command_line(name):
    assert get_args(ProductSamplerName) == tuple(PRODUCT_SAMPLERS)


def test_a_batch_of_one_equals_a_row(name):
    together = build(name)(model(), X, H, rng=Streams.for_batch(0, B))
    alone = torch.cat([build(name)(model(), X[i : i + 1], H, rng=Streams(0, [i])) for i in range(B)])
    torch.testing.assert_close(together, alone, rtol=1e-11, atol=1e-11)


def test_the_same_streams_give_the_same_result(name):
    first, second = (build(name)(model(), X, H, rng=Streams.for_batch(0, B)) for _ in range(2))
    assert torch.equal(first, second)
    generators = (torch.Generator().manual_seed(3) for _ in range(2))
    first, second = (build(name)(model(), X, H, rng=g) for g in generators)
    assert torch.equal(first, second)


def test_streams_change_what_is_drawn(name):
    """All but the one that has no variance."""
    first, second = (build(name)(model(), X, H, rng=Streams.for_batch(s, B)) for s in (0, 1))
    assert torch.equal(first, second) == (name == "posterior_mean")


def test_global_generators_are_left_alone(name):
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    build(name)(model(), X, H, rng=Streams.for_batch(0, B))
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
    assert (before[2] == np.random.get_state()[1]).all()


def test_single_precision_agrees_with_double(name):
    double = build(name)(model(), X, H, rng=Streams.for_batch(0, B))
    single = build(name, model(torch.float32))(model(torch.float32), X.float(), H, rng=Streams.for_batch(0, B))
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), double, rtol=0, atol=2e-5)


def test_conditions_go_to_their_samples(name):
    together = build(name)(model(), X, H, COND, rng=Streams.for_batch(0, B))
    for i in range(B):
        alone = build(name)(model(), X[i : i + 1], H, COND[i : i + 1], rng=Streams(0, [i]))
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-11, atol=1e-11)
    other = build(name)(model(), X, H, 1 - COND, rng=Streams.for_batch(0, B))
    assert float((together - other).abs().amax(1).min()) > 1e-3


GUIDED: dict[str, Callable[[Denoiser], Denoiser]] = {
    "plain": lambda inner: inner,
    "cfg": lambda inner: CFG(inner, 3.0),
    "cfg off": lambda inner: CFG(inner, 1.0),
    "limited": lambda inner: LimitedInterval(CFG(inner, 3.0), inner, 0.3, 1.0),
    "limited low": lambda inner: LimitedInterval(CFG(inner, 3.0), inner, 0.0, 0.2),
}


@pytest.mark.parametrize("guidance", GUIDED)
@pytest.mark.parametrize("options", [{}, {"start": "x"}, {"low": 0.2, "high": 2.0}, {"clock": "timestep"}], ids=str)
def test_claimed_evaluations_are_made(name, guidance, options):
    """By a counter around the guidance, and by the rows that reach the model below it."""
    inner = Rows(model(), sigma_max=10.0)
    counted = Counting(GUIDED[guidance](inner))
    sampler = build(name, inner, **options)
    sampler(counted, X, H, COND, rng=Streams.for_batch(0, B))
    claimed = sampler.nfe(GUIDED[guidance](inner), H)
    assert inner.rows == claimed * B
    inverting = len(SIGMAS) - 1 if name == "exponential_inverted" else 0  # by the plain model, which is not counted
    assert counted.nfe == claimed - inverting


@pytest.mark.parametrize("end", [0.0, 0.005])
def test_any_last_level(name, end):
    """The claim holds, and y is finite, on grids that end at 0 and above."""
    inner = Rows(model(), sigma_max=10.0)
    sampler = build(name, inner, Grid(karras_sigmas(40, 0.01, 2.5, end=end)))
    y = sampler(inner, X, H, rng=Streams.for_batch(0, B))
    assert inner.rows == sampler.nfe(inner, H) * B
    assert bool(y.isfinite().all())


@pytest.mark.parametrize("bandwidth", [0.0, -0.5, float("nan")])
def test_refuses_a_bandwidth(name, bandwidth):
    with pytest.raises(UsageError, match="bandwidth must be positive"):
        build(name)(model(), X, bandwidth, rng=Streams.for_batch(0, B))


def test_refuses_another_batch(name):
    if name == "posterior_mean":
        pytest.skip("draws nothing")
    with pytest.raises(ValueError, match="one row per stream"):
        build(name)(model(), X, H, rng=Streams.for_batch(0, B + 1))


def test_leaves_x_as_it_was(name):
    x = X.clone()
    build(name)(model(), x, H, rng=Streams.for_batch(0, B))
    assert torch.equal(x, X)


def test_events_of_any_shape(name):
    """(B, *event): with a model that works element by element, a folded event gives the folded result."""

    def shrink(z: torch.Tensor, sigma: float, cond: object = None) -> torch.Tensor:
        return z / (1 + sigma**2)

    flat = build(name, Rows(shrink))(Rows(shrink), X.repeat(1, 6), H, rng=Streams.for_batch(0, B))
    folded = build(name, Rows(shrink))(Rows(shrink), X.repeat(1, 6).reshape(B, 3, 2, 2), H, rng=Streams.for_batch(0, B))
    torch.testing.assert_close(folded.reshape(B, 12), flat)
