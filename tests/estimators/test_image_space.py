import pytest
import torch
from closed_forms import Rows

from modeseek.estimators import SDS, Estimate, ImageSpace
from modeseek.methods import Weighting
from modeseek.noise import NoiseTable
from modeseek.randomness import Streams, normal
from modeseek.schedules import Anneal

TABLE = NoiseTable.vp()
MIX = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
IMAGES = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def encode(image: torch.Tensor, rng: object = None) -> torch.Tensor:
    """Four channels at half the size."""
    latent = torch.einsum("dc,bchw->bdhw", MIX, torch.nn.functional.avg_pool2d(image, 2))
    return latent if rng is None else latent + 0.1 * normal(rng, latent)


def decode(x: torch.Tensor) -> torch.Tensor:
    image = torch.einsum("dc,bdhw->bchw", MIX, x).repeat_interleave(2, 2).repeat_interleave(2, 3)
    return image.sigmoid().float()  # a decoder of its own precision


def denoise(z: torch.Tensor, sigma: torch.Tensor, cond: object = None) -> torch.Tensor:
    return torch.tanh(z) / (1 + sigma.reshape(-1, 1, 1, 1))


def wrapped(**options: object) -> ImageSpace:
    return ImageSpace(SDS(Rows(denoise), TABLE, **options), encode, decode)


@pytest.mark.parametrize("weighting", ["sigma2", "uniform", "fantasia3d", "x0"])
def test_is_the_direct_formula(weighting: Weighting):
    """SDS-2: HiFA's w (I - dec(x0)) a / s in VP coordinates, the network predicting noise."""
    levels = TABLE.sigmas[[20, 500, 980]]
    abar = (1 / (1 + levels**2)).reshape(-1, 1, 1, 1)
    a, s = abar.sqrt(), (1 - abar).sqrt()
    latent = encode(IMAGES)
    noise = normal(Streams.for_batch(3, 3), latent)
    z_vp = a * latent + s * noise
    e = (z_vp / a - denoise(z_vp / a, levels)) / (s / a)  # the native network
    x0 = (z_vp - s * e) / a
    w = {"sigma2": 1 - abar, "uniform": 1, "fantasia3d": a * (1 - abar), "x0": s / a}[weighting]
    grad = wrapped(weighting=weighting).gradient(IMAGES, latent, None, noise, levels)
    torch.testing.assert_close(grad, w * (IMAGES - decode(x0)) * a / s, rtol=1e-6, atol=1e-9)


def test_is_sds_where_nothing_is_encoded():
    """SDS-2: with the identity for both, SDS's own gradient."""
    sds = SDS(Rows(denoise), TABLE)
    image = ImageSpace(sds, lambda x: x, lambda x: x)(IMAGES, rng=Streams.for_batch(0, 3))
    torch.testing.assert_close(image.grad, sds(IMAGES, rng=Streams.for_batch(0, 3)).grad, rtol=1e-9, atol=1e-12)


def test_no_gradient_goes_through_the_encoder():
    """SDS-2: the gradient in the picture is grad itself, and the target a picture's."""
    x = IMAGES.clone().requires_grad_()
    estimate = wrapped()(x, rng=Streams.for_batch(0, 3))
    estimate.loss.backward()
    torch.testing.assert_close(x.grad, estimate.grad, rtol=0, atol=0)
    assert estimate.target.shape == IMAGES.shape
    target = wrapped(weighting="x0")(IMAGES, rng=Streams.for_batch(0, 3)).target
    assert bool(((target >= 0) & (target <= 1)).all())  # decode(x0) itself


def test_a_batch_of_one_equals_a_row():
    """SDS-2: levels and noise are each sample's own."""
    together = wrapped()(IMAGES, rng=Streams.for_batch(0, 3))
    for k in range(3):
        alone = wrapped()(IMAGES[k : k + 1], rng=Streams(0, [k]))
        torch.testing.assert_close(together.grad[k : k + 1], alone.grad, rtol=1e-11, atol=1e-11)


def test_a_sampled_posterior_takes_the_rng():
    """SDS-2: the encoder draws before the estimator does; the mean draws nothing."""
    image = ImageSpace(SDS(Rows(denoise), TABLE), encode, decode, posterior="sample")
    first, again = (image(IMAGES, rng=Streams.for_batch(0, 3)) for _ in range(2))
    assert torch.equal(first.grad, again.grad)
    assert not torch.equal(first.grad, wrapped()(IMAGES, rng=Streams.for_batch(0, 3)).grad)


def test_info_and_cost():
    image = wrapped(time=Anneal(0.9, 0.1, 3))
    estimate = image(IMAGES, rng=Streams.for_batch(0, 3), step=2)
    assert isinstance(estimate, Estimate)
    assert (estimate.nfe, image.nfe(2), estimate.info["converged"]) == (1, 1, True)
    assert estimate.info["sigma"] == pytest.approx(float(TABLE.sigmas[100]))
