"""Options that save memory: equal results, and less kept."""

from __future__ import annotations

import copy
import dataclasses
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_families import LATENT, NAMES
from torch import Tensor

from modeseek.config import ImageConfig
from modeseek.errors import PriorError, UsageError
from modeseek.priors import Economy, Prior, economise, open_prior
from modeseek.priors.flux import Flux
from modeseek.priors.latent import LatentPrior
from modeseek.priors.lora import LoRA
from modeseek.randomness import Streams
from modeseek.text2image import TextToImage

Factory = Callable[..., Any]
OF_VAE = ("vae_slicing", "vae_tiling", "encoder_checkpointing")
EVERYTHING = Economy(1, True, True, True, True)


def opened(tiny: Path, dtype: torch.dtype = torch.float64, **economy: Any) -> LatentPrior:
    prior = open_prior(tiny, dtype=dtype, economy=Economy(**economy))
    assert isinstance(prior, LatentPrior)
    return prior


def picture(batch: int = 3, side: int = 16, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(0), dtype=dtype)


def encoded(prior: Prior, image: Tensor) -> tuple[Tensor, Tensor]:
    """Latents of pictures, and the gradient in them of a fixed direction in the latents."""
    image = image.clone().requires_grad_()
    x = prior.encode(image)
    along = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)
    (grad,) = torch.autograd.grad(x, image, along)
    return x.detach(), grad


@contextmanager
def counted(calls: list[int], module: Any) -> Iterator[None]:
    """The number of rows of every call of a module; of what comes first, by position or by name."""

    def count(module: Any, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        calls.append(len(args[0] if args else options["hidden_states"]))

    handle = module.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


# -- the autoencoder ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "economy", [{"vae_slicing": True}, {"encoder_checkpointing": True}, dict.fromkeys(OF_VAE, True)]
)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_latents_and_gradients_are_equal(
    economy: dict[str, bool], dtype: torch.dtype, tolerance: float, tiny: Path
) -> None:
    plain, small = opened(tiny, dtype), opened(tiny, dtype, **economy)
    for got, expected in zip(encoded(small, picture(dtype=dtype)), encoded(plain, picture(dtype=dtype)), strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=tolerance * float(expected.abs().max()))
    latents = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(2), dtype=dtype)
    torch.testing.assert_close(small.decode(latents), plain.decode(latents), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", LATENT)
def test_every_familys_encoder(name: str, family: Factory) -> None:
    plain = open_prior(family(name), dtype=torch.float64)
    small = open_prior(family(name), dtype=torch.float64, economy=Economy(vae_slicing=True, encoder_checkpointing=True))
    for got, expected in zip(encoded(small, picture()), encoded(plain, picture()), strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-12 * float(expected.abs().max()))


def test_slicing_shows_the_autoencoder_one_picture_at_a_time(tiny: Path) -> None:
    prior, rows = opened(tiny, vae_slicing=True), []
    with counted(rows, prior.vae.encoder), counted(rows, prior.vae.decoder):
        prior.decode(prior.encode(picture()))
    assert rows == [1] * 6


def kept(prior: LatentPrior, image: Tensor) -> int:
    """Bytes of activations that encoding keeps for its gradient."""
    held: dict[int, int] = {}
    weights = {p.untyped_storage().data_ptr() for p in prior.vae.parameters()}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            held[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        x = prior.encode(image.clone().requires_grad_())
    assert x.grad_fn is not None
    return sum(held.values())


def test_checkpointing_keeps_less(tiny: Path) -> None:
    plain, small = (kept(opened(tiny, encoder_checkpointing=on), picture(1, 64)) for on in (False, True))
    assert small < 0.5 * plain


def test_checkpointing_leaves_the_autoencoder_in_evaluation_mode_and_the_generator_alone(tiny: Path) -> None:
    prior = opened(tiny, encoder_checkpointing=True)
    assert not any(module.training for module in prior.vae.modules())
    before = torch.get_rng_state()
    encoded(prior, picture())
    assert torch.equal(torch.get_rng_state(), before)
    assert all(p.grad is None for p in prior.vae.parameters())


def test_tiles_are_another_result_with_a_gradient_of_its_own(tiny: Path) -> None:
    """The only option that changes the result, and only for pictures larger than the autoencoder's own size, 32."""
    plain, tiled, large = opened(tiny), opened(tiny, vae_tiling=True), picture(1, 64)
    assert torch.equal(tiled.encode(picture(2, 32)), plain.encode(picture(2, 32)))
    rows: list[int] = []
    with counted(rows, tiled.vae.encoder):
        x, grad = encoded(tiled, large)
    assert rows == [1] * 9
    reference = plain.encode(large)
    assert x.shape == reference.shape
    assert 1e-6 < float((x - reference).norm() / reference.norm()) < 0.2
    along = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)
    towards = torch.randn(large.shape, generator=torch.Generator().manual_seed(3), dtype=x.dtype)
    step = 1e-6
    ends = [float((along * tiled.encode(large + sign * step * towards)).sum()) for sign in (1, -1)]
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(float((grad * towards).sum()), rel=1e-6)


# -- the network -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1, 2])
def test_samples_of_every_family_are_equal_with_micro_batches(name: str, size: int, family: Factory) -> None:
    plain = open_prior(family(name), dtype=torch.float64)
    small = open_prior(family(name), dtype=torch.float64, economy=Economy(network_batch=size))
    prompts = {"dit": ["7", "12", "9"], "ddpm": ["", "", ""]}.get(name, ["red cat", "tree", ""])
    cond, streams, rows = plain.encode_prompt(prompts), Streams.for_batch(0, 3), []
    # two steps and, of the flow models, the first from pure noise
    options: dict[str, Any] = {"steps": 2} if name == "ddpm" else {"steps": 2, "guidance_scale": 4.0}
    with counted(rows, small.denoiser.network):
        got = small.sample(cond, streams.at(0), **options)
    assert max(rows) == size
    assert sum(rows) == (6 if name == "ddpm" else 12)
    expected = plain.sample(cond, streams.at(0), **options)
    # some of the networks compute embeddings of the time in float32
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_a_lora_asks_in_micro_batches_too(tiny: Path) -> None:
    prior = opened(tiny, network_batch=2)
    lora, rows = LoRA(prior.denoiser), []
    z = torch.randn(5, 4, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    cond = prior.encode_prompt("red cat")
    with counted(rows, lora.adapted), torch.no_grad():
        got = lora(z, 1.0, cond)
    assert rows == [2, 2, 1]
    torch.testing.assert_close(got, opened(tiny).denoiser(z, 1.0, cond), rtol=0, atol=1e-9)


def test_flux_keeps_its_micro_batches_under_another_distilled_guidance(family: Factory) -> None:
    prior = open_prior(family("flux-dev"), economy=Economy(network_batch=2))
    assert isinstance(prior, Flux)
    assert prior.distilled_guidance == 3.5
    other, rows = prior.with_distilled_guidance(2.0), []
    assert other.distilled_guidance == 2.0
    with counted(rows, other.denoiser.network), torch.no_grad():
        other.denoiser(torch.zeros(3, 4, 8, 8), 1.0, other.encode_prompt("red cat"))
    assert rows == [2, 1]


# -- the text ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sd", *(n for n in NAMES if n not in ("dit", "ddpm"))])
def test_offloaded_text_encoders_stay_on_the_cpu_and_their_output_moves(
    name: str, family: Factory, pipeline: Factory
) -> None:
    built = pipeline() if name == "sd" else family(name)
    prior = open_prior(built, device="meta", economy=Economy(offload_text=True))  # a device that is not the CPU
    assert prior.device.type == "meta"
    assert {p.device.type for encoder in prior.text_encoders.values() for p in encoder.parameters()} == {"cpu"}
    cond = prior.encode_prompt(["red cat", "tree"])
    parts = [cond] if isinstance(cond, Tensor) else list((cond or {}).values())
    assert {(part.device.type, len(part)) for part in parts} == {("meta", 2)}
    uncond = prior.uncond("")
    assert isinstance(uncond, Tensor) or {part.device.type for part in (uncond or {}).values()} == {"meta"}


def test_offloading_where_all_is_on_the_cpu_does_nothing_and_says_nothing(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = opened(tiny)
    capsys.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        economise(plain, Economy(offload_text=True))
        got = plain.encode_prompt("red cat")
    assert capsys.readouterr() == ("", "")
    assert isinstance(got, Tensor)
    assert torch.equal(got, opened(tiny).encode_prompt("red cat"))  # type: ignore[arg-type]


# -- all of it ---------------------------------------------------------------------------------------------------------


def test_nothing_is_changed_unless_asked(tiny: Path) -> None:
    prior = opened(tiny)
    before = copy.copy(vars(prior.vae)), prior.denoiser.ask
    economise(prior, Economy())
    assert (vars(prior.vae), prior.denoiser.ask) == before
    assert not prior.vae.is_gradient_checkpointing


@pytest.mark.parametrize("dtype", [None, torch.float16, torch.bfloat16])
def test_opening_says_nothing(dtype: torch.dtype | None, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(logging.getLogger("diffusers"), "handle", lambda record: said.append(record.getMessage()))
    for child in [name for name in logging.root.manager.loggerDict if name.startswith("diffusers.")]:
        monkeypatch.setattr(logging.getLogger(child), "handle", lambda record: said.append(record.getMessage()))
    open_prior(tiny, dtype=dtype)
    assert said == []


def test_the_fingerprint_stays(tiny: Path) -> None:
    assert open_prior(tiny, economy=EVERYTHING).fingerprint == open_prior(tiny).fingerprint


@pytest.mark.parametrize(
    ("name", "option", "message"),
    [
        *(("ddpm", option, f"{option} must have an autoencoder to act on; DDPMPipeline has none") for option in OF_VAE),
        ("ddpm", "offload_text", "offload_text must have a text encoder to act on; DDPMPipeline has none"),
        ("dit", "offload_text", "offload_text must have a text encoder to act on; DiTPipeline has none"),
    ],
)
def test_what_a_model_does_not_have_is_refused(name: str, option: str, message: str, family: Factory) -> None:
    with pytest.raises(PriorError, match=message):
        open_prior(family(name), economy=Economy(**{option: True}))


@pytest.mark.parametrize("size", [0, -3])
def test_a_micro_batch_of_nothing_is_refused(size: int) -> None:
    with pytest.raises(UsageError, match=f"network_batch must be at least 1, got {size}"):
        Economy(network_batch=size)
    with pytest.raises(UsageError, match=f"network_batch must be at least 1, got {size}"):
        ImageConfig(("red cat",), network_batch=size)


# -- in a run ----------------------------------------------------------------------------------------------------------

SAVING = dataclasses.asdict(Economy(2, True, False, True, True))


def run(tiny: Path, out: Path, **options: Any) -> TextToImage:
    config = ImageConfig(
        ("red cat", "tree"),
        prior=str(tiny),
        out=out,
        steps=3,
        sample_steps=2,
        guidance=4.0,
        checkpoint_every=1,
        **options,
    )
    return TextToImage.start(config)


@pytest.mark.parametrize("method", ["msd", "sds", "vsd", "sdi"])
def test_a_run_is_the_same_run(method: str, tiny: Path, tmp_path: Path) -> None:
    plain, small = run(tiny, tmp_path / "plain", method=method), run(tiny, tmp_path / "small", method=method, **SAVING)
    rows: list[int] = []
    with counted(rows, small.prior.denoiser.network):
        assert plain.advance()
        assert small.advance()
    assert set(rows) == {2}
    assert small.nfe() == plain.nfe()
    assert small.job.marks == plain.job.marks
    torch.testing.assert_close(small.images(), plain.images(), rtol=0, atol=1e-4)


def test_a_run_is_resumed_with_its_options(tiny: Path, tmp_path: Path) -> None:
    whole, halves = (run(tiny, tmp_path / name, **SAVING) for name in ("whole", "halves"))
    assert whole.advance()
    assert not halves.advance(stop_after=1)
    resumed = TextToImage.resume(tmp_path / "halves")
    assert {name: getattr(resumed.config, name) for name in SAVING} == SAVING
    assert isinstance(resumed.prior, LatentPrior)
    assert resumed.prior.vae.use_slicing
    assert resumed.prior.vae.is_gradient_checkpointing
    assert resumed.advance()
    assert torch.equal(resumed.images(), whole.images())
