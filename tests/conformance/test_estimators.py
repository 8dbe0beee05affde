"""What every estimator must do; a name added to ``methods.ESTIMATORS`` is tested here once it has a builder."""

import random
from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
import torch
from closed_forms import POINTS, Rows, mixture, t64

from modeseek.denoisers import Counting, Denoiser, MixtureDenoiser
from modeseek.errors import NonFiniteError, UsageError
from modeseek.estimators import Estimator
from modeseek.guidance import CFG, LimitedInterval
from modeseek.methods import ESTIMATORS, EstimatorName
from modeseek.noise import NoiseTable, Sigma, karras_sigmas
from modeseek.randomness import Streams
from modeseek.samplers.product import Exact, Grid
from modeseek.schedules import Anneal, Bandwidth

TABLE = NoiseTable.vp()
GRID = Grid(karras_sigmas(12, 0.01, 4.0))
CLASSES, COND = torch.tensor([0, 1, 0]), torch.tensor([0, 1, 1, 0, 1])
X = t64(POINTS)
B = len(POINTS)


class Halved:
    """An auxiliary of VSD that is the same for every batch: the particles themselves would tie the rows together.

    It asks the estimator's own denoiser, so that its evaluations are seen.
    """

    def __init__(self, denoiser: Denoiser) -> None:
        self.inner, self.sigma_min, self.sigma_max = denoiser, denoiser.sigma_min, denoiser.sigma_max

    def cost(self, sigma: Sigma) -> int:
        return self.inner.cost(sigma)

    def __call__(self, z: torch.Tensor, sigma: Sigma, cond: object = None) -> torch.Tensor:
        return 0.5 * self.inner(z, sigma, cond)

    def denoiser(self, x: torch.Tensor) -> Denoiser:
        return self

    def fit(self, x: torch.Tensor, cond: object, rng: object, step: int) -> dict[str, float | bool]:
        return {}

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        pass


# one way to build each, from the table's class and a denoiser; options replace the class's own arguments
BUILDERS: dict[str, Callable[..., Estimator]] = {
    "sds": lambda kind, denoiser, **options: kind(denoiser, TABLE, **options),
    "vsd": lambda kind, denoiser, **options: kind(denoiser, TABLE, Halved(denoiser), **options),
    "sdi": lambda kind, denoiser, **options: kind(
        denoiser, TABLE, **{"inverse": denoiser, "time": Anneal(0.9, 0.1, 10), **options}
    ),
    "msd": lambda kind, denoiser, **options: kind(
        denoiser, Exact(GRID), **{"bandwidth": Bandwidth(1.0, 0.3, 10), "n_samples": 2, **options}
    ),
}
WITH_BANDWIDTH = ("msd",)

pytestmark = pytest.mark.parametrize("name", ESTIMATORS)


def model(dtype: torch.dtype = torch.float64) -> MixtureDenoiser:
    return MixtureDenoiser(mixture(dtype), CLASSES, sigma_max=20.0)


def build(name: str, denoiser: Denoiser | None = None, **options: object) -> Estimator:
    if name not in BUILDERS:
        pytest.fail(f"add a builder for the estimator {name!r} to BUILDERS in {__file__}")
    return BUILDERS[name](ESTIMATORS[name].load(), denoiser or model(), **options)


def test_is_a_name_of_the_command_line(name):
    assert get_args(EstimatorName) == tuple(ESTIMATORS)
    assert set(BUILDERS) <= set(ESTIMATORS)
    assert set(get_args(EstimatorName)) <= set(ESTIMATORS)


def test_a_batch_of_one_equals_a_row(name):
    together = build(name)(X, COND, rng=Streams.for_batch(0, B), step=3)
    for i in range(B):
        alone = build(name)(X[i : i + 1], COND[i : i + 1], rng=Streams(0, [i]), step=3)
        torch.testing.assert_close(together.grad[i : i + 1], alone.grad, rtol=1e-11, atol=1e-11)
        assert alone.nfe == together.nfe


def test_the_same_rng_gives_the_same_result(name):
    first, second = (build(name)(X, COND, rng=Streams.for_batch(0, B)) for _ in range(2))
    assert torch.equal(first.grad, second.grad)
    assert first.info == second.info
    generators = (torch.Generator().manual_seed(3) for _ in range(2))
    first, second = (build(name)(X, COND, rng=g) for g in generators)
    assert torch.equal(first.grad, second.grad)


def test_another_rng_gives_another_result(name):
    first, second = (build(name)(X, COND, rng=Streams.for_batch(0, B).at(step)) for step in (0, 1))
    assert float((first.grad - second.grad).abs().amax(1).min()) > 0


def test_is_stateless(name):
    """A call in between changes nothing."""
    estimator = build(name)
    first = estimator(X, COND, rng=Streams.for_batch(0, B), step=2)
    estimator(3 * X, 1 - COND, rng=Streams.for_batch(5, B), step=7)
    again = estimator(X, COND, rng=Streams.for_batch(0, B), step=2)
    assert torch.equal(first.grad, again.grad)


def test_global_generators_are_left_alone(name):
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    build(name)(X, COND, rng=Streams.for_batch(0, B))
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
    assert (before[2] == np.random.get_state()[1]).all()


def test_single_precision_agrees_with_double(name):
    double = build(name)(X, COND, rng=Streams.for_batch(0, B))
    single = build(name, model(torch.float32))(X.float(), COND, rng=Streams.for_batch(0, B))
    assert single.grad.dtype == torch.float32
    torch.testing.assert_close(single.grad.double(), double.grad, rtol=1e-4, atol=1e-5)


def test_conditions_go_to_their_samples(name):
    together = build(name)(X, COND, rng=Streams.for_batch(0, B))
    for k in (0, 1):
        rows = torch.eq(COND, k).nonzero()[:, 0].tolist()
        apart = build(name)(X[rows], torch.tensor([k]), rng=Streams(0, rows))
        torch.testing.assert_close(together.grad[rows], apart.grad, rtol=1e-11, atol=1e-11)
    other = build(name)(X, 1 - COND, rng=Streams.for_batch(0, B))
    assert float((together.grad - other.grad).abs().amax(1).min()) > 1e-4


def test_gradient_target_and_loss_agree(name):
    """MSD-11: grad is x - target, and what autograd makes of the loss."""
    x = X.clone().requires_grad_()
    estimate = build(name)(x, COND, rng=Streams.for_batch(0, B))
    assert estimate.loss.shape == ()
    assert not estimate.target.requires_grad
    assert not estimate.grad.requires_grad
    torch.testing.assert_close(estimate.grad, X - estimate.target, rtol=0, atol=0)
    estimate.loss.backward()
    torch.testing.assert_close(x.grad, estimate.grad, rtol=0, atol=0)
    assert estimate.info["shift"] == pytest.approx(float(estimate.grad.square().mean().sqrt()))


@pytest.mark.parametrize("scale", [None, 1.0, 3.0])
def test_claimed_evaluations_are_made(name, scale):
    """The estimate's claim, the claim before the call, a counter, and the rows that reach the model agree."""
    inner = Rows(model(), sigma_max=20.0)
    counted = Counting(inner if scale is None else CFG(inner, scale))
    estimator = build(name, counted)
    estimate = estimator(X, COND, rng=Streams.for_batch(0, B), step=4)
    per_row = inner.rows / B
    assert estimate.nfe == estimator.nfe(4) == per_row
    assert per_row % (2 if scale == 3.0 else 1) == 0


def test_claimed_evaluations_are_made_in_a_limited_interval(name):
    """The estimate claims what was made, of one sample and of a batch; the claim before is at least one sample's."""
    for rows in ([0], [1], [2], [3], [4], [0, 1, 2, 3, 4]):
        inner = Rows(model(), sigma_max=20.0)
        estimator = build(name, LimitedInterval(CFG(inner, 3.0), inner, 0.3, 1.0))
        estimate = estimator(X[rows], COND[rows], rng=Streams(0, rows), step=4)
        assert estimate.nfe == inner.rows / len(rows)
        if len(rows) == 1:
            assert estimate.nfe <= estimator.nfe(4)


def test_a_bandwidth_must_be_positive(name):
    if name not in WITH_BANDWIDTH:
        pytest.skip("has no bandwidth")
    for bandwidth in (0.0, -1.0, float("nan")):
        with pytest.raises(UsageError, match="bandwidth must be positive"):
            build(name, bandwidth=bandwidth)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused_by_name(name, bad):
    def broken(z: torch.Tensor, sigma: float | torch.Tensor, cond: torch.Tensor) -> torch.Tensor:
        return model()(z, sigma, cond.clamp(max=1)).masked_fill((cond == 9)[:, None], bad)

    cond = torch.tensor([0, 1, 9, 0, 9])
    with pytest.raises(NonFiniteError, match=r"must be finite.*sample\(s\) \[2, 4\]"):
        build(name, Rows(broken, sigma_max=20.0))(X, cond, rng=Streams.for_batch(0, B))


def test_leaves_x_as_it_was(name):
    x = X.clone()
    build(name)(x, COND, rng=Streams.for_batch(0, B))
    assert torch.equal(x, X)
