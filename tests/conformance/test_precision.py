"""Weights in half precision, for every family: what is computed in float32 all the same, and two steps end to end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_families import NAMES
from torch import Tensor

from modeseek.denoisers.base import Cond
from modeseek.denoisers.flow import FlowDenoiser
from modeseek.estimators import MSD, SDS
from modeseek.generators import Encoded, Pixels
from modeseek.noise import column, x0_from_eps, x0_from_v
from modeseek.priors import LatentPrior, Prior, open_prior
from modeseek.randomness import Streams
from modeseek.samplers.product import Proximal
from modeseek.schedules import Bandwidth

Opened = Callable[[str, torch.dtype], Prior]
HALVES = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
EVERY = pytest.mark.parametrize("name", ["sd", *NAMES])


@pytest.fixture(scope="module")
def opened(tiny: Path, family_dir: Callable[..., Path]) -> Opened:
    """Saved pipelines, opened in a precision."""
    made: dict[tuple[str, torch.dtype], Prior] = {}

    def get(name: str, dtype: torch.dtype) -> Prior:
        if (name, dtype) not in made:
            made[name, dtype] = open_prior(tiny if name == "sd" else family_dir(name), dtype=dtype)
        return made[name, dtype]

    return get


def encoded(prior: Prior, name: str) -> Cond:
    prompts = {"dit": ["7", "12"], "ddpm": ["", ""]}.get(name, ["red cat", "tree"])
    return prior.encode_prompt(prompts)


@HALVES
@EVERY
def test_networks_are_in_half_and_the_autoencoder_never_in_float16(
    name: str, dtype: torch.dtype, opened: Opened
) -> None:
    prior = opened(name, dtype)
    assert prior.denoiser.network.dtype == dtype
    if isinstance(prior, LatentPrior):
        assert prior.vae.dtype == (torch.float32 if dtype == torch.float16 else dtype)


@HALVES
def test_a_pipeline_objects_autoencoder_is_never_put_in_float16(dtype: torch.dtype, family: Callable[..., Any]) -> None:
    built = family("sdxl")
    weight = built.vae.encoder.conv_in.weight.clone()
    prior = open_prior(built, dtype=dtype)
    assert isinstance(prior, LatentPrior)
    assert prior.denoiser.network.dtype == dtype
    assert prior.vae.dtype == (torch.float32 if dtype == torch.float16 else dtype)
    assert torch.equal(prior.vae.encoder.conv_in.weight, weight.to(prior.vae.dtype))  # not rounded on the way


@HALVES
@EVERY
def test_the_network_is_asked_in_half_and_its_answer_taken_in_float32(
    name: str, dtype: torch.dtype, opened: Opened
) -> None:
    """x0 of the native output, by the formula in float32: SIGMA-3, SIGMA-4."""
    prior, asked = opened(name, dtype), []
    ask = prior.denoiser.ask

    def spy(network: Any, z: Tensor, t: Tensor, cond: Cond) -> Tensor:
        output = ask(network, z, t, cond)
        asked.append((z.dtype, t.dtype, output))
        return output

    z = 3 * Streams.for_batch(1, 2).normal((2, *prior.latent_shape))
    levels = torch.tensor([0.3, 2.7], dtype=torch.float64)
    prior.denoiser.ask = spy
    try:
        with torch.no_grad():
            got = prior.denoiser(z, levels, encoded(prior, name))
    finally:
        prior.denoiser.ask = ask
    ((of_z, of_t, output),) = asked
    assert (of_z, of_t, output.dtype, got.dtype) == (dtype, torch.float32, dtype, torch.float32)
    native, sigma = output[:, : z.shape[1]].double(), column(levels, z)
    if isinstance(prior.denoiser, FlowDenoiser):
        expected = (z.double() - sigma * native) / (1 + sigma)
    elif prior.denoiser.prediction == "epsilon":
        expected = x0_from_eps(z.double(), levels, native)
    else:
        expected = x0_from_v(z.double(), levels, native)
    torch.testing.assert_close(got.double(), expected, rtol=1e-6, atol=1e-6)


@HALVES
@EVERY
def test_two_steps_from_the_picture_to_its_gradient(name: str, dtype: torch.dtype, opened: Opened) -> None:
    prior = opened(name, dtype)
    cond, size = encoded(prior, name), 16
    guided = prior.guided(prior.guidance)
    picture = Pixels(torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0)))
    rendered, rng = Encoded(picture, prior.encode), Streams.for_batch(0, 2)
    msd = MSD(guided, Proximal(prior.grid(3)), Bandwidth(1.0, 0.1, 2))
    optimiser = torch.optim.Adam(picture.parameters(), lr=1e-2)
    for step, estimator in enumerate([msd, SDS(guided, prior.table)]):
        x = rendered(rng).image
        estimate = estimator(x, cond, rng=rng.at(step), step=step)
        optimiser.zero_grad()
        estimate.loss.backward()
        (weights,) = picture.parameters()
        assert (x.dtype, estimate.grad.dtype) == (torch.float32, torch.float32)
        assert weights.grad is not None
        assert bool(weights.grad.isfinite().all())
        assert float(weights.grad.abs().max()) > 0
        optimiser.step()
    decoded = prior.decode(rendered(rng).image.detach())
    assert decoded.dtype == torch.float32
    assert bool(decoded.isfinite().all())


@pytest.mark.parametrize("scale", [1e-2, 1e-5, 1e-8])
def test_small_gradients_pass_the_encoder_whatever_the_weights(scale: float, opened: Opened) -> None:
    """The late bandwidths' gradients: float16 would round them to zero."""
    for dtype, tolerance in ((torch.float16, 1e-5), (torch.bfloat16, 0.05)):
        prior, image = opened("sdxl", dtype), torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
        image.requires_grad_()
        along = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
        (exact,) = torch.autograd.grad(prior.encode(image), image, along)
        (small,) = torch.autograd.grad(prior.encode(image), image, scale * along)
        torch.testing.assert_close(small / scale, exact, rtol=0, atol=tolerance * float(exact.abs().max()))
