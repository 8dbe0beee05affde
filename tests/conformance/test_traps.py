"""What public implementations of the same methods have got wrong, or do otherwise than their users think; a test each.

threestudio's formulas are written out here in the network's own variance-preserving coordinates: z_vp = a x + s n.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from modeseek.estimators import MSD, SDI, SDS, VSD, Estimator, ImageSpace, Particles
from modeseek.generators import Encoded, Latents, Pixels, render
from modeseek.priors import LatentPrior, open_prior
from modeseek.randomness import Streams
from modeseek.samplers.product import Proximal
from modeseek.schedules import Anneal, Bandwidth

T = 1000
PROMPTS = ["red cat", "a tree"]
X = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
N = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.fixture(scope="module", params=["epsilon", "v_prediction"])
def pipe(pipeline: Callable[..., Any], request: pytest.FixtureRequest) -> Any:
    return pipeline(prediction_type=request.param).to(torch.float64)


@pytest.fixture(scope="module")
def prior(pipe: Any) -> LatentPrior:
    return open_prior(pipe)


def steps_of(pipe: Any, t: Tensor) -> tuple[Tensor, Tensor]:
    """a and s of timesteps (B,), as columns."""
    ab = pipe.scheduler.alphas_cumprod.double()[t].reshape(-1, 1, 1, 1)
    return ab.sqrt(), (1 - ab).sqrt()


@torch.no_grad()
def predicted(pipe: Any, z_vp: Tensor, t: Tensor, cond: Tensor) -> Tensor:
    """The network's noise: its output, or of a velocity s z + a v."""
    a, s = steps_of(pipe, t)
    out: Tensor = pipe.unet(z_vp, t, cond.double().expand(len(z_vp), -1, -1)).sample
    return out if pipe.scheduler.config.prediction_type == "epsilon" else s * z_vp + a * out


def conditions(prior: LatentPrior) -> tuple[Tensor, Tensor]:
    return prior.encode_prompt(PROMPTS), prior.encode_prompt("")


# -- v-prediction ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("guidance", [1.0, 7.5, 100.0])
def test_trap_a_velocity_network_is_not_taken_for_a_noise_network(pipe: Any, prior: LatentPrior, guidance: float):
    """SDS-1: (1 - ab) (e - n) with e converted; threestudio's SDS takes a velocity for e without a word."""
    t, (cond, uncond) = torch.tensor([120, 700]), conditions(prior)
    a, s = steps_of(pipe, t)
    z = a * X + s * N
    e_c, e_u = predicted(pipe, z, t, cond), predicted(pipe, z, t, uncond)
    expected = s**2 * (e_u + guidance * (e_c - e_u) - N)
    sds = SDS(prior.guided(guidance), prior.table)
    grad = sds.gradient(X, cond, N, prior.table.sigma(t))
    assert float((grad - expected).norm() / expected.norm()) < 1e-6
    if pipe.scheduler.config.prediction_type == "v_prediction" and guidance == 1:
        with torch.no_grad():
            wrong = s**2 * (pipe.unet(z, t, cond.double()).sample - N)
        assert float((grad - wrong).norm() / expected.norm()) > 0.1


# -- guidance ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("there", [7.5, 100.0])
def test_trap_one_option_name_and_two_conventions_of_guidance(pipe: Any, prior: LatentPrior, there: float):
    """MSD-13: G of threestudio's SDS is (1 + G) e_c - G e_u, that of its VSD e_u + G (e_c - e_u)."""
    t, (cond, uncond) = torch.tensor([120, 700]), conditions(prior)
    a, s = steps_of(pipe, t)
    z = a * X + s * N
    e_c, e_u = predicted(pipe, z, t, cond), predicted(pipe, z, t, uncond)

    def ours(scale: float) -> Tensor:
        return SDS(prior.guided(scale), prior.table).gradient(X, cond, N, prior.table.sigma(t))

    def distance(scale: float, e: Tensor) -> float:
        return float((ours(scale) - s**2 * (e - N)).norm() / ours(scale).norm())

    of_sds, of_vsd = (1 + there) * e_c - there * e_u, e_u + there * (e_c - e_u)
    assert distance(there + 1, of_sds) < 1e-6
    assert distance(there, of_vsd) < 1e-6
    assert distance(there, of_sds) > 1e-4


def test_trap_the_inversions_guidance_is_one_above_the_originals(pipe: Any, prior: LatentPrior):
    """SDI-1: G_inv = -7.5 there is (1 - 7.5) e_c + 7.5 e_u, guidance -6.5 here."""
    t, (cond, uncond) = torch.tensor([300, 300]), conditions(prior)
    a, _ = steps_of(pipe, t)
    e_c, e_u = predicted(pipe, a * X, t, cond), predicted(pipe, a * X, t, uncond)
    sigma = prior.table.sigma(t)
    eps = (X - prior.guided(-6.5)(X, sigma, cond)) / sigma.reshape(-1, 1, 1, 1)
    torch.testing.assert_close(eps, (1 - 7.5) * e_c + 7.5 * e_u, rtol=1e-6, atol=1e-6)


def test_trap_the_order_of_texts_is_nobodys_business(pipe: Any, prior: LatentPrior):
    """MSD-13: (cond, uncond) here, (uncond, cond) in diffusers; a prompt is no negative by mistake."""
    cond, uncond = conditions(prior)
    sigma = torch.tensor([1.0, 3.0], dtype=torch.float64)
    seen: list[Tensor] = []
    hook = pipe.unet.register_forward_pre_hook(lambda module, args: seen.append(args[2]))
    try:
        prior.guided(7.5)(X, sigma, cond)
    finally:
        hook.remove()
    torch.testing.assert_close(seen[0], torch.cat([cond, uncond, uncond]))
    swapped = prior.denoiser(X, sigma, uncond) + 7.5 * (
        prior.denoiser(X, sigma, cond) - prior.denoiser(X, sigma, uncond)
    )
    torch.testing.assert_close(prior.guided(7.5)(X, sigma, cond), swapped)


# -- timesteps ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pairing", ["remapped", "public"])
@pytest.mark.parametrize("time", [0.0, 0.05, 0.5, 1.0])
def test_trap_no_timestep_outside_the_table_is_asked(pipe: Any, prior: LatentPrior, pairing: Any, time: float):
    """SDI-1, SDI-2: the public inversion begins at timestep -99, and anneals below its smallest t after its K steps."""
    asked: list[float] = []
    hook = pipe.unet.register_forward_pre_hook(lambda module, args: asked.extend(args[1].flatten().tolist()))
    try:
        falling = SDI(
            prior.guided(8.5), prior.table, inverse=prior.guided(-6.5), time=Anneal(time, 0.0, 2), pairing=pairing
        )
        for step in (0, 5):
            falling(X, conditions(prior)[0], rng=Streams.for_batch(0, 2), step=step)
    finally:
        hook.remove()
    assert asked
    assert min(asked) >= 0
    assert max(asked) <= T - 1


def builders(prior: LatentPrior) -> dict[str, Estimator]:
    guided, table = prior.guided(7.5), prior.table
    return {
        "sds": SDS(guided, table),
        "vsd": VSD(guided, table, Particles(0.0, X.flip(0))),
        "sdi": SDI(guided, table, inverse=prior.guided(-6.5), time=0.5),
        "sdi, public": SDI(guided, table, inverse=prior.guided(-6.5), time=0.5, pairing="public", fresh="added"),
        "msd": MSD(guided, Proximal(prior.grid(4)), Bandwidth(3.0, 0.2, 5)),
    }


def test_trap_a_batch_does_not_share_one_timestep(prior: LatentPrior):
    """SDS-1, VSD-1, TIME-2: threestudio's Unified draws one t for the whole batch; here each sample has its own."""
    for name in ("sds", "vsd"):
        estimator: Any = builders(prior)[name]
        levels = getattr(estimator, "sds", estimator).levels(Streams.for_batch(0, 64), 64, 0)
        assert len(levels.unique()) > 48
    images = ImageSpace(SDS(prior.denoiser, prior.table), prior.encode, prior.decode)
    assert len(images.sds.levels(Streams.for_batch(0, 64), 64, 0).unique()) > 48


# -- reductions and losses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sds", "vsd", "sdi", "sdi, public", "msd"])
def test_trap_a_gradient_is_not_divided_by_the_batch(prior: LatentPrior, name: str):
    """SDS-1, VSD-1, SDI-1: the rows of two samples are the two alone, to rounding; no division, none twice."""
    estimator, cond = builders(prior)[name], conditions(prior)[0]
    together = estimator(X, cond, rng=Streams.for_batch(0, 2)).grad
    for k in range(2):
        alone = estimator(X[k : k + 1], cond[k : k + 1], rng=Streams(0, [k])).grad
        assert float((together[k : k + 1] - alone).norm() / alone.norm()) < 1e-6


def test_trap_the_others_losses_have_their_own_factors(prior: LatentPrior):
    """MSD-11: sum / 2B of SDS and VSD gives grad / B, mean / 2B of SDI grad / (elements B); ours gives grad."""
    cond = conditions(prior)[0]
    for name, factor in (("sds", 1 / 2), ("sdi", 1 / (X.numel() * 2))):
        estimate = builders(prior)[name](X, cond, rng=Streams.for_batch(0, 2))
        x = X.clone().requires_grad_()
        squares = 0.5 * (x - estimate.target).square()
        loss = squares.sum() / 2 if name == "sds" else squares.mean() / 2
        loss.backward()
        torch.testing.assert_close(x.grad, factor * estimate.grad)


@pytest.mark.parametrize("name", ["sds", "vsd", "sdi", "msd"])
def test_trap_the_loss_is_there_for_its_gradient(prior: LatentPrior, name: str):
    """MSD-11: d loss / dx is grad, of parameters the chain rule's; the value is |grad|^2 / 2 and tells no progress."""
    latents = Latents(X)
    estimate = builders(prior)[name](2 * latents(), conditions(prior)[0], rng=Streams.for_batch(0, 2))
    estimate.loss.backward()
    torch.testing.assert_close(latents.x.grad, 2 * estimate.grad)
    assert float(estimate.loss.detach()) == pytest.approx(0.5 * float(estimate.grad.square().sum()))


def test_trap_adam_does_not_see_the_factor_of_a_loss_and_sgd_does(prior: LatentPrior):
    """MSD-11: SDI's 1 / 16384 there changes no step of Adam, and every one of SGD."""
    grad = builders(prior)["sdi"](X, conditions(prior)[0], rng=Streams.for_batch(0, 2)).grad

    def moved(kind: type[torch.optim.Optimizer], factor: float, lr: float) -> Tensor:
        latents = Latents(X)
        optimiser = kind(latents.parameters(), lr=lr)  # type: ignore[call-arg]
        for k in range(3):
            latents.x.grad = factor * (k + 1) * grad
            optimiser.step()
        return latents.x.detach() - X

    small, whole = (moved(torch.optim.Adam, factor, 0.01) for factor in (1 / 16384, 1.0))
    assert float((small - whole).norm() / whole.norm()) < 0.01  # of which Adam's eps of 1e-8 makes what there is
    torch.testing.assert_close(moved(torch.optim.SGD, 1 / 16384, 0.01), moved(torch.optim.SGD, 1, 0.01 / 16384))


# -- the autoencoder's posterior ---------------------------------------------------------------------------------------


def test_trap_a_sampled_posterior_is_not_its_mean(pipe: Any):
    """The public guidances sample the posterior; its mean is the default here, and the mean of many samples."""
    wide = copy.deepcopy(pipe)
    with torch.no_grad():  # an untrained encoder has next to no variance or far too much
        wide.vae.quant_conv.bias[4:] = -2.0
        wide.vae.quant_conv.weight[4:] = 0.0
    prior = open_prior(wide)
    picture = Pixels(torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(2)).double())
    mean = render(Encoded(picture, prior.encode))(Streams(0)).image.detach()
    sampled = Encoded(picture, prior.encode, posterior="sample")
    n = 300
    with torch.no_grad():
        drawn = torch.cat([render(sampled)(Streams(0, step=k)).image for k in range(n)])
    spread = float(wide.vae.config.scaling_factor) * torch.tensor(-1.0).exp()  # standard deviation e^(-2 / 2)
    assert float((drawn[0] - mean[0]).abs().max()) > float(spread)
    assert float((drawn.mean(0) - mean[0]).abs().max()) < 5 * float(spread) / n**0.5
