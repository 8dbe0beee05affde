"""The loop: where it ends, and that it goes on as if it had never stopped. Equations MSD-6, MSD-11."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from modeseek.denoisers import MixtureDenoiser
from modeseek.densities import GaussianMixture
from modeseek.distillation import Progress, Step, distill, fit_step
from modeseek.errors import NonFiniteError, UsageError
from modeseek.estimators import MSD, Estimate
from modeseek.generators import ImageMLP, Points, View
from modeseek.methods import PRODUCT_SAMPLERS
from modeseek.noise import karras_sigmas
from modeseek.randomness import Rng, Streams, normal
from modeseek.schedules import Bandwidth


def posterior_mean() -> Any:
    return PRODUCT_SAMPLERS["posterior_mean"].load()()


def target(mixture: GaussianMixture, bandwidth: float | Bandwidth) -> MSD:
    return MSD(MixtureDenoiser(mixture), posterior_mean(), bandwidth)


# -- where it ends -----------------------------------------------------------------------------------------------------


def test_a_gaussian_ends_at_its_mean() -> None:
    # one mode, whatever the bandwidth: the mean
    mean = torch.tensor([[3.0, -2.0]], dtype=torch.float64)
    covariance = torch.tensor([[[1.0, 0.6], [0.6, 2.0]]], dtype=torch.float64)
    start = torch.tensor([[-4.0, 5.0], [9.0, 9.0]], dtype=torch.float64)
    points, bandwidth = Points(start), Bandwidth(10.0, 0.3, 60)
    optimiser = torch.optim.SGD(points.parameters(), lr=1.0)  # x becomes its target
    msd = target(GaussianMixture(mean, covariance), bandwidth)
    distill(points, msd, steps=60, rng=Streams.for_batch(0, 2), optimiser=optimiser)
    # every step contracts by C (C + h^2)^-1
    left = start - mean
    for step in range(60):
        left = left @ torch.linalg.solve(covariance[0] + bandwidth(step) ** 2 * torch.eye(2), covariance[0]).T
    assert float(left.abs().max()) < 1e-9
    torch.testing.assert_close(points().detach() - mean, left, rtol=0, atol=1e-12)


def test_a_mixture_ends_at_its_true_mode() -> None:
    # two overlapping components: the modes are off the means, and the higher one is a root of the score
    means = torch.tensor([[-1.2, 0.0], [1.2, 0.3]], dtype=torch.float64)
    mixture = GaussianMixture.isotropic(means, 1.0, torch.tensor([0.7, 0.3], dtype=torch.float64))
    x = means[:1].clone()
    for _ in range(2000):  # mean-shift fixed point of the density itself: x <- sum_k r_k(x) mu_k
        log_joint = -0.5 * (x - means).square().sum(1) + mixture.log_weights
        x = (log_joint.softmax(0)[:, None] * means).sum(0, keepdim=True)
    mode = x
    assert float(mixture.score(mode).norm()) < 1e-12
    assert float((mode - means[0]).norm()) > 0.05
    points = Points(torch.tensor([[4.0, -3.0], [-5.0, 4.0]], dtype=torch.float64))  # one starts nearer the other mean
    optimiser = torch.optim.SGD(points.parameters(), lr=1.0)  # x becomes its target: mean shift itself
    msd = target(mixture, Bandwidth(8.0, 0.3, 40))
    distill(points, msd, steps=40, rng=Streams.for_batch(0, 2), optimiser=optimiser)
    optimiser = torch.optim.SGD(points.parameters(), lr=0.5 / 1e-3**2)  # a shift is h^2 score
    distill(points, target(mixture, 1e-3), steps=60, rng=Streams.for_batch(0, 2), optimiser=optimiser)
    torch.testing.assert_close(points().detach(), mode.expand(2, 2), rtol=0, atol=1e-6)


def test_the_step_is_the_mean_shift() -> None:
    # one step of SGD at rate 1 lands on x + h^2 grad log p_h(x)
    mixture = GaussianMixture.isotropic(torch.tensor([[0.0, 0.0], [2.0, 1.0]], dtype=torch.float64), 0.3)
    start = torch.tensor([[0.7, -1.0], [2.5, 2.5]], dtype=torch.float64)
    points = Points(start)
    optimiser = torch.optim.SGD(points.parameters(), lr=1.0)
    steps: list[Step] = []
    distill(
        points, target(mixture, 0.8), steps=1, rng=Streams.for_batch(0, 2), optimiser=optimiser, callback=steps.append
    )
    shift = 0.8**2 * mixture.score(start, 0.8)
    torch.testing.assert_close(points().detach(), start + shift, rtol=1e-12, atol=1e-12)
    (step,) = steps
    assert torch.equal(step.view.image.detach(), start)
    assert step.grad_norm == pytest.approx(float(shift.norm()), rel=1e-12)
    assert (step.index, step.progress.step, step.progress.nfe, step.estimate.nfe) == (0, 1, 1, 1)


# -- going on ----------------------------------------------------------------------------------------------------------


class Nested(nn.Module):
    """A generator with several parameters and a camera drawn at every step."""

    def __init__(self) -> None:
        super().__init__()
        self.mlp = ImageMLP(Streams.for_batch(0, 2), 2, features=4, width=4, layers=1)

    def forward(self, rng: Rng) -> View:
        image = self.mlp()
        return View((image + 0.01 * normal(rng, image)).flatten(1), camera=None)


def noisy_msd() -> MSD:
    means = torch.rand(3, 12, generator=torch.Generator().manual_seed(0))
    sampler = PRODUCT_SAMPLERS["exact"].load()
    from modeseek.samplers.product.base import Grid

    return MSD(
        MixtureDenoiser(GaussianMixture.isotropic(means, 0.1)),
        sampler(Grid(karras_sigmas(4, 0.01, 10.0))),
        Bandwidth(5.0, 0.1, 12),
    )


@pytest.mark.parametrize("cuts", [[5], [1, 2, 11], [4, 8], [0, 12]])
@pytest.mark.parametrize("refresh_every", [1, 4])
def test_resumed_is_uninterrupted_bit_for_bit(cuts: list[int], refresh_every: int) -> None:
    def part(state: tuple[Any, Any, Progress] | None, steps: int) -> tuple[Any, Any, Progress]:
        generator = Nested()
        optimiser = torch.optim.Adam(generator.parameters(), lr=1e-2)
        progress = Progress()
        if state is not None:
            generator.load_state_dict(state[0])
            optimiser.load_state_dict(state[1])
            progress = state[2]
        if steps > progress.step:
            distill(
                generator,
                noisy_msd(),
                steps=steps,
                rng=Streams.for_batch(5, 2),
                optimiser=optimiser,
                refresh_every=refresh_every,
                progress=progress,
            )
        return copy.deepcopy((generator.state_dict(), optimiser.state_dict(), progress))

    whole = part(None, 12)
    state = None
    for steps in [*cuts, 12]:
        state = part(state, steps)
    assert state is not None
    assert all(torch.equal(whole[0][k], state[0][k]) for k in whole[0])
    for index, moments in whole[1]["state"].items():
        assert all(torch.equal(v, state[1]["state"][index][k]) for k, v in moments.items())
    assert torch.equal(whole[2].target, state[2].target)
    assert (whole[2].step, whole[2].nfe, whole[2].info) == (state[2].step, state[2].nfe, state[2].info)


@pytest.mark.parametrize(("refresh_every", "calls"), [(1, 10), (3, 4), (4, 3), (100, 1)])
def test_steps_share_a_target(refresh_every: int, calls: int) -> None:
    points, msd = Points(torch.zeros(2, 12)), noisy_msd()
    steps: list[Step] = []
    progress = distill(
        points, msd, steps=10, rng=Streams.for_batch(0, 2), refresh_every=refresh_every, callback=steps.append
    )
    assert msd.nfe(0) == 5
    assert progress.nfe == 5 * calls
    for step in steps:
        fresh = step.index % refresh_every == 0
        assert step.estimate.nfe == (5 if fresh else 0)
        if not fresh:
            assert step.estimate.target is steps[step.index - 1].estimate.target
            shift = float((step.estimate.target - step.view.image.detach()).square().mean().sqrt())
            now = {"shift": shift, "relative_shift": shift / step.estimate.info["bandwidth"]}
            assert step.estimate.info == {**steps[step.index - 1].estimate.info, **now}
        torch.testing.assert_close(step.estimate.grad, step.view.image.detach() - step.estimate.target)


def test_a_callback_stops_the_loop() -> None:
    points = Points(torch.zeros(2, 12))
    progress = distill(
        points, noisy_msd(), steps=10, rng=Streams.for_batch(0, 2), callback=lambda step: step.index == 3
    )
    assert progress.step == 4
    whole = Points(torch.zeros(2, 12))
    distill(whole, noisy_msd(), steps=4, rng=Streams.for_batch(0, 2))
    assert torch.equal(points(), whole())


def test_done_is_done() -> None:
    points = Points(torch.zeros(2, 12))
    progress = distill(points, noisy_msd(), steps=3, rng=Streams.for_batch(0, 2))
    before = points().clone()
    distill(points, noisy_msd(), steps=3, rng=Streams.for_batch(0, 2), progress=progress)
    assert torch.equal(points(), before)


# -- cameras -----------------------------------------------------------------------------------------------------------


class Turning(nn.Module):
    """One point, seen from the front or from the back as the stream says."""

    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.zeros(1, 2, dtype=torch.float64))

    def forward(self, rng: Rng) -> View:
        return View(self.x, camera="back" if float(normal(rng, self.x)[0, 0]) > 0 else "front")


class Recording:
    """Points at the condition that it is given."""

    def __init__(self) -> None:
        self.conds: list[Any] = []

    def nfe(self, step: int) -> int:
        return 1

    def __call__(self, x: Tensor, cond: Any = None, *, rng: Rng, step: int = 0) -> Estimate:
        self.conds.append(cond)
        return Estimate(x, cond, 1)


def test_the_condition_may_depend_on_the_camera() -> None:
    asked: list[str] = []

    def cond(camera: str) -> Tensor:
        asked.append(camera)
        return torch.full((1, 2), 1.0 if camera == "front" else -1.0, dtype=torch.float64)

    recording, views = Recording(), []
    distill(Turning(), recording, cond, steps=20, rng=Streams(0), callback=lambda step: views.append(step.view.camera))
    assert set(asked) == {"front", "back"}
    assert asked == views
    assert [float(c[0, 0]) for c in recording.conds] == [1.0 if c == "front" else -1.0 for c in asked]


def test_a_condition_that_is_a_tensor_is_handed_on() -> None:
    recording, cond = Recording(), torch.ones(1, 2, dtype=torch.float64)
    distill(Turning(), recording, cond, steps=2, rng=Streams(0))
    assert all(c is cond for c in recording.conds)


# -- an estimator that trains something of its own ---------------------------------------------------------------------


class Learning(Recording):
    """Notes what it is trained with; its state is the number of times."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn: list[Tensor] = []
        self.fitted: list[tuple[Tensor, Any, Tensor, int]] = []

    def __call__(self, x: Tensor, cond: Any = None, *, rng: Rng, step: int = 0) -> Estimate:
        self.drawn.append(normal(rng, x))
        return super().__call__(x, cond, rng=rng, step=step)

    def fit(self, x: Tensor, cond: Any = None, *, rng: Rng, step: int = 0) -> dict[str, float | bool]:
        self.fitted.append((x.clone(), cond, normal(rng, x), step))
        return {"fit_loss": float(step)}

    def state_dict(self) -> dict[str, Tensor]:
        return {"times": torch.tensor(len(self.fitted))}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        pass


@pytest.mark.parametrize("refresh_every", [1, 3])
def test_it_learns_from_every_rendering(refresh_every: int) -> None:
    learning, steps, cond = Learning(), [], torch.ones(2, 2)
    points = Points(torch.zeros(2, 2))
    distill(points, learning, cond, steps=5, rng=Streams.for_batch(0, 2), refresh_every=refresh_every,
            callback=steps.append)  # fmt: skip
    assert [step for *_, step in learning.fitted] == [0, 1, 2, 3, 4]
    assert all(torch.equal(x, s.view.image.detach()) for (x, *_), s in zip(learning.fitted, steps))
    assert all(c is cond for _, c, *_ in learning.fitted)
    assert not any(x.requires_grad for x, *_ in learning.fitted)
    assert [s.fitted for s in steps] == [{"fit_loss": float(k)} for k in range(5)]


def test_its_numbers_are_not_those_of_the_gradient() -> None:
    learning = Learning()
    distill(Points(torch.zeros(2, 2)), learning, torch.ones(2, 2), steps=5, rng=Streams.for_batch(0, 2))
    numbers = torch.cat([*learning.drawn, *(n for _, _, n, _ in learning.fitted)]).flatten()
    assert len(numbers.unique()) == 2 * 5 * 4
    assert {fit_step(k) for k in range(5)}.isdisjoint(range(-1, 5))  # -1 draws initial weights
    streams = Streams.for_batch(0, 2).at(fit_step(3))
    assert torch.equal(learning.fitted[3][2], normal(streams, torch.zeros(2, 2)))


def test_it_sees_the_cameras_condition_at_every_step() -> None:
    learning, views = Learning(), []

    def cond(camera: str) -> Tensor:
        return torch.full((1, 2), 1.0 if camera == "front" else -1.0, dtype=torch.float64)

    distill(Turning(), learning, cond, steps=12, rng=Streams(0), refresh_every=4,
            callback=lambda step: views.append(step.view.camera))  # fmt: skip
    assert set(views) == {"front", "back"}
    assert [float(c[0, 0]) for _, c, *_ in learning.fitted] == [1.0 if v == "front" else -1.0 for v in views]
    assert len(learning.conds) == 3


def test_what_it_cannot_learn_leaves_the_parameters() -> None:
    class Failing(Learning):
        def fit(self, x: Tensor, cond: Any = None, *, rng: Rng, step: int = 0) -> dict[str, float | bool]:
            if step == 2:
                raise NonFiniteError(f"the auxiliary's loss must be finite, got nan at step {step}")
            return {}

    points, progress, seen = Points(torch.zeros(2, 2)), Progress(), []
    with pytest.raises(NonFiniteError, match="at step 2"):
        distill(points, Failing(), torch.ones(2, 2), steps=5, rng=Streams.for_batch(0, 2), progress=progress,
                callback=lambda step: seen.append(points().detach().clone()))  # fmt: skip
    assert progress.step == 2
    assert torch.equal(points(), seen[-1])


def test_one_that_trains_nothing_has_nothing_fitted() -> None:
    steps: list[Step] = []
    distill(Points(torch.zeros(2, 2)), Recording(), torch.ones(2, 2), steps=1, rng=Streams.for_batch(0, 2),
            callback=steps.append)  # fmt: skip
    assert steps[0].fitted == {}


# -- what is refused ---------------------------------------------------------------------------------------------------


class Exploding(nn.Module):
    """Its gradient is not finite from step 3 on; its output always is."""

    def __init__(self) -> None:
        super().__init__()
        self.fine, self.bad = nn.Parameter(torch.ones(1, 2)), nn.Parameter(torch.zeros(1, 2))
        self.calls = 0

    def forward(self) -> Tensor:
        self.calls += 1
        if self.calls > 3:
            return self.fine + (self.bad - self.bad.detach()).sqrt()  # sqrt(0): the slope is infinite
        return self.fine + self.bad


def test_a_gradient_that_is_not_finite_stops_and_leaves_the_parameters() -> None:
    generator, before = Exploding(), {}
    optimiser = torch.optim.Adam(generator.parameters(), lr=0.1)

    def keep(step: Step) -> None:
        before.update({k: v.clone() for k, v in generator.state_dict().items()})

    with pytest.raises(NonFiniteError, match=r"NaN or infinity at step 3 in bad$"):
        distill(generator, Recording(), torch.full((1, 2), 5.0), steps=9, rng=Streams(0), optimiser=optimiser,
                callback=keep)  # fmt: skip
    assert all(torch.equal(before[k], v) for k, v in generator.state_dict().items())


def test_a_target_that_is_not_finite_stops() -> None:
    points = Points(torch.full((2, 2), float("nan"), dtype=torch.float64))
    mixture = GaussianMixture.isotropic(torch.zeros(1, 2, dtype=torch.float64), 1.0)
    with pytest.raises(NonFiniteError, match=r"target must be finite, got NaN or infinity in sample\(s\) \[0, 1\]"):
        distill(points, target(mixture, 1.0), steps=1, rng=Streams.for_batch(0, 2))


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"steps": -1}, {"steps": 1, "refresh_every": 0}])
def test_at_least_one_step(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="steps and refresh_every must be at least 1"):
        distill(Points(torch.zeros(1, 2)), Recording(), rng=Streams(0), **wrong)


class Fixed(nn.Module):
    def forward(self) -> Tensor:
        return torch.zeros(1, 2)


class Detached(Points):
    def forward(self) -> Tensor:
        return self.x.detach()


class Frozen(Points):
    def __init__(self, x: Tensor) -> None:
        super().__init__(x)
        self.requires_grad_(False)


@pytest.mark.parametrize("generator", [Fixed(), Detached(torch.zeros(1, 2)), Frozen(torch.zeros(1, 2))])
@pytest.mark.parametrize("own", [True, False])
def test_a_generator_without_parameters_is_refused(generator: nn.Module, own: bool) -> None:
    optimiser = torch.optim.Adam([nn.Parameter(torch.zeros(1))]) if own else None
    with pytest.raises(UsageError, match="parameters that require a gradient"):
        distill(generator, Recording(), torch.ones(1, 2), steps=1, rng=Streams(0), optimiser=optimiser)
