import copy
import math

import numpy as np
import pytest
import torch
from closed_forms import MU, POINTS, C, gaussian, t64
from torch import Tensor, nn

from modeseek.denoisers import MixtureDenoiser
from modeseek.denoisers.noise_mlp import NoiseMLP
from modeseek.errors import NonFiniteError, UsageError
from modeseek.estimators import VSD, Trained
from modeseek.noise import NoiseTable
from modeseek.randomness import Streams

TABLE = NoiseTable.karras(100, 0.05, 2.0)
X = t64(POINTS)


class Linear(nn.Module):
    """D(z) = A z + b at every level, A times a frozen factor of 1."""

    sigma_min, sigma_max = 0.0, 10.0

    def __init__(self) -> None:
        super().__init__()
        self.matrix, self.offset = nn.Parameter(torch.zeros(2, 2).double()), nn.Parameter(torch.zeros(2).double())
        self.frozen = nn.Parameter(torch.ones(1).double(), requires_grad=False)

    def cost(self, sigma: object) -> int:
        return 3

    def forward(self, z: Tensor, sigma: object, cond: object = None) -> Tensor:
        return self.frozen * z @ self.matrix.T + self.offset


def one_level(sigma: float) -> NoiseTable:
    """A table that draws one level."""
    return NoiseTable(t64([sigma, sigma * (1 + 1e-9)]))


def test_loss_is_that_of_the_noise():
    """VSD-2: the mean square of eps_phi - eps."""
    sigma, eps = t64([0.05, 0.2, 0.5, 1.0, 2.0]), t64(POINTS[::-1].copy())
    model = MixtureDenoiser(gaussian())
    trained = Trained(nn.Linear(1, 1), model, TABLE)
    eps_phi = -sigma[:, None] * gaussian().score(X + sigma[:, None] * eps, sigma)
    torch.testing.assert_close(trained.loss(X, None, eps, sigma), (eps_phi - eps).square().mean())


def test_loss_is_that_of_the_velocity():
    """VSD-2: the mean square of v_phi - v, v = a eps - s x."""
    sigma, eps = t64([0.05, 0.2, 0.5, 1.0, 2.0]), t64(POINTS[::-1].copy())
    trained = Trained(nn.Linear(1, 1), MixtureDenoiser(gaussian()), TABLE, target="velocity")
    a, z = 1 / (1 + sigma**2).sqrt()[:, None], X + sigma[:, None] * eps
    s = a * sigma[:, None]
    eps_phi = -sigma[:, None] * gaussian().score(z, sigma)
    v_phi = a * eps_phi - s * (z - sigma[:, None] * eps_phi)
    torch.testing.assert_close(trained.loss(X, None, eps, sigma), (v_phi - (a * eps - s * X)).square().mean())


@pytest.mark.parametrize("target", ["epsilon", "velocity"])
def test_the_gradient_is_that_of_the_loss(target):
    """VSD-2: bit for bit, in spite of the power of two that it is carried with."""
    network = Linear()
    trained = Trained(network, network, TABLE, target=target)
    again = Streams.for_batch(0, 5)
    sigma = TABLE.pick(again.uniform((5,)), trained.first, trained.last)
    loss = trained.loss(X, None, again.normal(X.shape).double(), sigma)
    expected = torch.autograd.grad(loss, [network.matrix, network.offset])
    trained.fit(X, None, Streams.for_batch(0, 5), 0)
    assert torch.equal(network.matrix.grad, expected[0])
    assert torch.equal(network.offset.grad, expected[1])


class Adapted(Linear):
    """On top of other weights; where it learns, the condition is their negative."""

    def __init__(self, base: int) -> None:
        super().__init__()
        self.fingerprint = torch.tensor([base], dtype=torch.uint8)

    def dropped(self, cond: Tensor, rng: Streams, batch: int) -> Tensor:
        return -cond * rng.uniform((batch,))[:, None]

    def forward(self, z: Tensor, sigma: object, cond: Tensor) -> Tensor:
        return super().forward(z, sigma) + cond


def test_an_adapter_learns_under_its_own_condition():
    """VSD-2: the condition is changed by numbers drawn after level and noise, for the fit alone."""
    network, cond, again = Adapted(1), X + 1, Streams.for_batch(0, 5)
    trained = Trained(network, network, TABLE)
    sigma = TABLE.pick(again.uniform((5,)), trained.first, trained.last)
    eps = again.normal(X.shape).double()
    expected = trained.loss(X, -cond * again.uniform((5,))[:, None], eps, sigma)
    found = trained.fit(X, cond, Streams.for_batch(0, 5), 0)["fit_loss"]
    assert found == float(expected.detach())


def test_an_adapters_state_says_what_it_stands_on():
    one, other, none = Adapted(1), Adapted(2), Linear()
    state = Trained(one, one, TABLE).state_dict()
    assert state["base"].tolist() == [1]
    Trained(one, one, TABLE).load_state_dict(state)
    for network in (other, none):
        with pytest.raises(UsageError, match="it was trained on another base model"):
            Trained(network, network, TABLE).load_state_dict(state)
    with pytest.raises(UsageError, match="it was trained on another base model"):
        Trained(one, one, TABLE).load_state_dict(Trained(none, none, TABLE).state_dict())


def test_fits_the_posterior_mean_of_a_gaussian():
    """VSD-2: a linear denoiser at one level tends to MU + C (C + sigma^2 I)^-1 (z - MU), which is linear."""
    sigma, n, network = 0.6, 4096, Linear()
    trained = Trained(network, network, one_level(sigma), lr=0.02, steps=1)
    rng = torch.Generator().manual_seed(0)
    for step in range(400):
        if step == 300:
            trained.optimiser.param_groups[0]["lr"] = 1e-3  # the noise of a step falls with it
        info = trained.fit(gaussian().sample(n, rng), None, rng, step)
    gain = C @ np.linalg.inv(C + sigma**2 * np.eye(2))
    np.testing.assert_allclose(network.matrix.detach().numpy(), gain, rtol=0, atol=0.01)
    np.testing.assert_allclose(network.offset.detach().numpy(), MU - gain @ MU, rtol=0, atol=0.01)
    # the least loss is what is left of x given z: the trace of C - gain C, over sigma^2
    assert info["fit_loss"] == pytest.approx(np.trace(C - gain @ C) / 2 / sigma**2, rel=0.05)
    assert float(network.frozen.detach()) == 1


def test_a_small_network_fits_every_level():
    """VSD-2: the noise that NoiseMLP predicts, against the closed form at points of the noised density."""
    network, rng = NoiseMLP(), torch.Generator().manual_seed(0)
    trained = Trained(network, network, TABLE, lr=3e-3, steps=1)
    for step in range(600):
        trained.fit(gaussian().sample(512, rng).float(), None, rng, step)
    for sigma in (0.2, 0.6, 1.5):
        z = gaussian().sample(2000, rng, sigma)
        exact = gaussian().posterior_mean(z, sigma)
        error = (network(z, sigma).detach() - exact).square().mean().sqrt() / (z - exact).square().mean().sqrt()
        before = (NoiseMLP()(z, sigma).detach() - exact).square().mean().sqrt() / (z - exact).square().mean().sqrt()
        assert float(error) < 0.2, (sigma, float(error))
        assert float(error) < 0.5 * float(before)


def test_vsd_on_what_it_has_learned():
    """VSD-1 with VSD-2: trained on the model's own data, the gradient is far smaller than with nothing learned."""
    network, rng, model = Linear(), torch.Generator().manual_seed(0), MixtureDenoiser(gaussian())
    table = one_level(0.6)
    vsd = VSD(model, table, Trained(network, network, table, lr=0.02), time_range=(0.0, 1.0))
    before = vsd(X, rng=Streams.for_batch(0, 5)).grad
    for step in range(300):
        vsd.fit(gaussian().sample(1024, rng), rng=rng, step=step)
    after = vsd(X, rng=Streams.for_batch(0, 5)).grad
    assert float(after.norm()) < 0.1 * float(before.norm())


def test_steps_of_adam_with_noise_drawn_anew():
    """VSD-2: two fits of one step on one stream are one fit of two."""
    one, two = Linear(), Linear()
    once, twice = Trained(one, one, TABLE, lr=0.1), Trained(two, two, TABLE, lr=0.1, steps=2)
    streams = Streams.for_batch(0, 5)
    losses = [once.fit(X, None, streams, 0)["fit_loss"] for _ in range(2)]
    assert twice.fit(X, None, Streams.for_batch(0, 5), 0)["fit_loss"] == pytest.approx(sum(losses) / 2, rel=1e-15)
    assert torch.equal(one.matrix, two.matrix)
    assert losses[0] != losses[1]


def test_learns_inside_no_grad_and_leaves_x_alone():
    network, x = Linear(), X.clone()
    with torch.no_grad():
        Trained(network, network, TABLE, lr=0.1).fit(x, None, Streams.for_batch(0, 5), 0)
    assert bool(network.matrix.detach().any())
    assert torch.equal(x, X)


def test_a_state_goes_on_bit_for_bit():
    """The trained parameters and Adam's moments, nothing of what is frozen."""

    def fit(trained: Trained, steps: range) -> None:
        for step in steps:
            trained.fit(X, None, Streams.for_batch(0, 5).at(step), step)

    whole, part, again = Linear(), Linear(), Linear()
    fit(Trained(whole, whole, TABLE, lr=0.1), range(8))
    first = Trained(part, part, TABLE, lr=0.1)
    fit(first, range(5))
    state = copy.deepcopy(first.state_dict())
    names = {f"optimiser.{i}.{k}" for i in (0, 1) for k in ("step", "exp_avg", "exp_avg_sq")}
    assert state.keys() == {"network.matrix", "network.offset"} | names
    assert not any(v.requires_grad for v in state.values())
    second = Trained(again, again, TABLE, lr=0.1)
    second.load_state_dict(state)
    fit(second, range(5, 8))
    assert torch.equal(whole.matrix, again.matrix)
    assert torch.equal(whole.offset, again.offset)


def test_the_state_before_the_first_step():
    network = Linear()
    trained = Trained(network, network, TABLE)
    trained.load_state_dict(trained.state_dict())
    assert trained.state_dict().keys() == {"network.matrix", "network.offset"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("network.matrix"), "differs in network.matrix"),
        (lambda s: s.update({"network.more": torch.zeros(1)}), "differs in network.more"),
        (lambda s: s.update({"network.matrix": torch.zeros(3, 3)}), "differs in network.matrix"),
        (lambda s: s.update({"optimiser.2.exp_avg": torch.zeros(1)}), "not that of these parameters"),
        (lambda s: s.update({"optimiser.x": torch.zeros(1)}), "must be that of this auxiliary network"),
    ],
)
def test_refuses_another_networks_state(change, says):
    network = Linear()
    trained = Trained(network, network, TABLE)
    trained.fit(X, None, Streams.for_batch(0, 5), 0)
    state = trained.state_dict()
    change(state)
    with pytest.raises(UsageError, match=says):
        trained.load_state_dict(state)


def test_a_loss_that_is_not_finite_stops_before_the_step():
    network = Linear()
    trained = Trained(network, network, TABLE)
    before = network.matrix.detach().clone()
    with pytest.raises(NonFiniteError, match="the auxiliary's loss must be finite, got nan at step 4"):
        trained.fit(X * math.nan, None, Streams.for_batch(0, 5), 4)
    assert torch.equal(network.matrix, before)


class Cusp(Linear):
    """A finite loss whose gradient is not."""

    def forward(self, z: Tensor, sigma: object, cond: object = None) -> Tensor:
        return super().forward(z, sigma) + self.offset.abs().sqrt()


def test_a_gradient_that_is_not_finite_stops_before_the_step():
    network = Cusp()
    with pytest.raises(NonFiniteError, match="the gradient of the auxiliary's loss must be finite, got nan at step 4"):
        Trained(network, network, TABLE).fit(X, None, Streams.for_batch(0, 5), 4)
    assert not bool(network.matrix.detach().any())


def test_refuses():
    network = Linear()
    with pytest.raises(UsageError, match="lr must be positive and steps at least 1, got 0 and 1"):
        Trained(network, network, TABLE, lr=0)
    with pytest.raises(UsageError, match=r"lr must be positive and steps at least 1, got 0\.1 and 0"):
        Trained(network, network, TABLE, lr=0.1, steps=0)
    with pytest.raises(UsageError, match="the auxiliary's level must be at most the model's sigma_max 10"):
        Trained(network, network, NoiseTable.vp())
    with pytest.raises(UsageError, match="must have parameters that require a gradient"):
        Trained(Linear().requires_grad_(False), network, TABLE)
    with pytest.raises(UsageError, match="must be differentiable in the network's parameters"):
        Trained(network, MixtureDenoiser(gaussian()), TABLE).fit(X, None, Streams.for_batch(0, 5), 0)
    with pytest.raises(UsageError, match="must depend on the network's parameters"):
        Trained(network, Linear(), TABLE).fit(X, None, Streams.for_batch(0, 5), 0)
    with pytest.raises(UsageError, match="target must be epsilon or velocity, got 'v'"):
        Trained(network, network, TABLE, target="v")


def test_costs_what_its_denoiser_costs():
    network = Linear()
    vsd = VSD(MixtureDenoiser(gaussian()), TABLE, Trained(network, network, TABLE))
    assert vsd(X, rng=Streams.for_batch(0, 5)).nfe == vsd.nfe(0) == 4
