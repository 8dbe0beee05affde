"""Opening pipelines, and agreement with diffusers' own pipeline. Equations SIGMA-3, DDIM-1, DDIM-2, MSD-13."""

from __future__ import annotations

import json
import math
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from modeseek.errors import NonFiniteError, PriorError, UsageError
from modeseek.priors import Prior, open_prior
from modeseek.randomness import Streams

PREDICTIONS = ("epsilon", "v_prediction", "sample")
PROMPTS, NEGATIVE = ["red cat", "a blue house", "tree"], "ugly"

Factory = Callable[..., Any]

# scheduler class, its options, sampling steps: where diffusers' DDIM steps to the level that it evaluates next
SCHEDULERS = {
    "stable-diffusion": ("DDIMScheduler", {"set_alpha_to_one": False, "steps_offset": 1}, 7),
    "leading-to-one": ("DDIMScheduler", {"set_alpha_to_one": True, "steps_offset": 0}, 10),
    "leading-null-step": ("DDIMScheduler", {"set_alpha_to_one": False, "steps_offset": 0}, 10),
    "one-step": ("DDIMScheduler", {"set_alpha_to_one": True, "steps_offset": 1}, 1),
    "trailing": ("DDIMScheduler", {"timestep_spacing": "trailing", "set_alpha_to_one": True}, 10),
    "trailing-not-to-one": ("DDIMScheduler", {"timestep_spacing": "trailing", "set_alpha_to_one": False}, 8),
    "pndm": ("PNDMScheduler", {"skip_prk_steps": True, "set_alpha_to_one": False, "steps_offset": 1}, 9),
    "euler": ("EulerDiscreteScheduler", {"timestep_spacing": "leading", "steps_offset": 1}, 6),
}


def reference(pipeline: Any, eps: Tensor, steps: int, **options: Any) -> Tensor:
    """Latents of diffusers' pipeline with its DDIM scheduler, guidance 4, negative prompt."""
    from diffusers import DDIMScheduler

    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, clip_sample=False)
    made = pipeline(
        PROMPTS[: len(eps)],
        negative_prompt=[NEGATIVE] * len(eps),
        num_inference_steps=steps,
        guidance_scale=4.0,
        latents=eps,
        output_type="latent",
        **options,
    )
    return made.images


def ours(prior: Prior, rng: Any, steps: int, batch: int = 3, **options: Any) -> Tensor:
    cond = prior.encode_prompt(PROMPTS[:batch])
    return prior.sample(cond, rng, steps=steps, guidance_scale=4.0, negative=NEGATIVE, **options)


@pytest.fixture(scope="module")
def prior(tiny: Path) -> Prior:
    return open_prior(tiny)


@pytest.fixture
def exact(pipeline: Factory) -> Callable[[str], Prior]:
    """Priors in float64, but for the text."""

    def build(prediction: str) -> Prior:
        prior = open_prior(pipeline(prediction_type=prediction), dtype=torch.float64)
        prior.text_encoder.float()  # transformers 4 masks with a number that float64 does not survive
        return prior

    return build


# -- sampling ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("name", SCHEDULERS)
def test_samples_are_those_of_the_pipeline(
    name: str, prediction: str, pipeline: Factory, pipeline_dir: Factory
) -> None:
    scheduler, options, steps = SCHEDULERS[name]
    options = {**options, "prediction_type": prediction}
    streams = Streams.for_batch(3, 3)
    expected = reference(pipeline(scheduler, **options), streams.normal((3, 4, 8, 8)), steps)
    got = ours(open_prior(pipeline_dir(scheduler, **options)), streams.at(0), steps)
    torch.testing.assert_close(got, expected, rtol=0, atol=3e-5 * float(expected.abs().max()))
    from_object = ours(open_prior(pipeline(scheduler, **options)), streams.at(0), steps)
    torch.testing.assert_close(from_object, got, rtol=0, atol=0)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize(("spacing", "steps"), [("linspace", 10), ("trailing", 7)])
def test_levels_that_diffusers_ddim_misses_are_those_of_its_euler(
    spacing: str, steps: int, prediction: str, pipeline: Factory
) -> None:
    # its DDIM steps down by 1000 // steps whatever the spacing; its Euler, DDIM in sigma coordinates, does not
    options = {"timestep_spacing": spacing, "prediction_type": prediction}
    streams = Streams.for_batch(4, 2)
    prior = open_prior(pipeline(set_alpha_to_one=True, **options))
    sigma = float(prior.grid(steps).sigmas[0])
    euler = pipeline("EulerDiscreteScheduler", **options)
    start = streams.normal((2, 4, 8, 8)) * (1 + sigma**2) ** 0.5 / sigma  # it starts from sigma eps, DDIM from z / a
    expected = euler(
        PROMPTS[:2],
        negative_prompt=[NEGATIVE] * 2,
        num_inference_steps=steps,
        guidance_scale=4.0,
        latents=start,
        output_type="latent",
    ).images
    got = ours(prior, streams.at(0), steps, batch=2)
    torch.testing.assert_close(got, expected, rtol=0, atol=3e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("to_one", [True, False])
def test_ancestral_samples_are_those_of_the_pipeline(to_one: bool, pipeline: Factory) -> None:
    built = pipeline(prediction_type="v_prediction", set_alpha_to_one=to_one, steps_offset=1)
    drawn = torch.Generator().manual_seed(5)
    eps = torch.randn(3, 4, 8, 8, generator=drawn)
    expected = reference(built, eps, 8, eta=0.7, generator=drawn)
    got = ours(open_prior(built), torch.Generator().manual_seed(5), 8, eta=0.7)
    torch.testing.assert_close(got, expected, rtol=0, atol=3e-5 * float(expected.abs().max()))


def test_zero_terminal_snr(pipeline: Factory) -> None:
    options = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
    streams = Streams.for_batch(3, 3)
    leading = pipeline(**options, steps_offset=1)
    expected = reference(leading, streams.normal((3, 4, 8, 8)), 10)  # never sees the last timestep
    torch.testing.assert_close(ours(open_prior(leading), streams.at(0), 10), expected, rtol=0, atol=1e-4)

    trailing = pipeline(**options, timestep_spacing="trailing")
    prior = open_prior(trailing)
    assert len(prior.table) == 999  # the level without signal is cut
    assert 100 < prior.table.sigma_max < 1e4
    assert float(prior.grid(10).timesteps[0]) == 998
    expected = reference(trailing, streams.at(0).normal((3, 4, 8, 8)), 10)  # starts from the timestep above
    assert float((ours(prior, streams.at(0), 10) - expected).abs().max()) < 0.02 * float(expected.std())


def test_a_sample_does_not_depend_on_its_batch(prior: Prior) -> None:
    together = ours(prior, Streams(0, [5, 6, 7]), 5)
    cond = prior.encode_prompt(PROMPTS[1])
    alone = prior.sample(cond, Streams(0, [6]), steps=5, guidance_scale=4.0, negative=NEGATIVE)
    torch.testing.assert_close(together[1:2], alone, rtol=0, atol=1e-5)
    assert float((together[0] - together[1]).abs().max()) > 0.1


def test_a_sample_that_is_not_finite_is_refused(prior: Prior) -> None:
    with pytest.raises(NonFiniteError, match="sample"):
        prior.sample(prior.encode_prompt("cat"), Streams(0), steps=2, guidance_scale=float("nan"))


@pytest.mark.parametrize("steps", [0, 1001])
def test_a_grid_needs_steps_within_the_table(prior: Prior, steps: int) -> None:
    with pytest.raises(UsageError, match="between 1 and 1000"):
        prior.grid(steps)


# -- the denoiser ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_denoiser_is_the_native_formula(prediction: str, exact: Callable[[str], Prior]) -> None:
    prior = exact(prediction)
    cond = prior.encode_prompt(["red cat"] * 4)
    steps = torch.tensor([0, 17, 500, 999])
    native = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    abar = prior.scheduler.alphas_cumprod.double()[steps].reshape(4, 1, 1, 1)
    a, s = abar.sqrt(), (1 - abar).sqrt()
    with torch.no_grad():
        output = prior.unet(native, steps, cond.double()).sample
        got = prior.denoiser(native / a, prior.table.sigmas[steps], cond)
    expected = {"epsilon": (native - s * output) / a, "v_prediction": a * native - s * output, "sample": output}
    torch.testing.assert_close(got, expected[prediction], rtol=1e-9, atol=1e-9)
    assert math.isclose(prior.table.sigma_max, float(s[3] / a[3]), rel_tol=1e-12)


def test_a_level_for_each_sample_is_that_level_for_all(exact: Callable[[str], Prior]) -> None:
    prior = exact("epsilon")
    z = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    cond = prior.encode_prompt("tree")
    levels = torch.tensor([0.1, 1.234, 14.0], dtype=torch.float64)
    with torch.no_grad():
        together = prior.denoiser(z, levels, cond)
        alone = [prior.denoiser(z[i : i + 1], float(levels[i]), cond) for i in range(3)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-9, atol=1e-9)


def test_levels_outside_the_table(prior: Prior) -> None:
    z, cond = torch.ones(2, 4, 8, 8), prior.encode_prompt("tree")
    lowest = prior.denoiser.sigma_min
    with torch.no_grad():
        at_the_end = prior.denoiser(z, lowest, cond)
        torch.testing.assert_close(prior.denoiser(z, 0.0, cond), at_the_end, rtol=0, atol=0)
        mixed = prior.denoiser(z, torch.tensor([0.0, lowest], dtype=torch.float64), cond)
    torch.testing.assert_close(mixed, at_the_end, rtol=0, atol=1e-7)
    with pytest.raises(UsageError, match=r"sigma must be at most the model's sigma_max 14\.61, got 15"):
        prior.denoiser(z, 15.0, cond)
    with pytest.raises(UsageError, match="sigma_max"):
        prior.denoiser(z, torch.tensor([1.0, 15.0]), cond)


@pytest.mark.parametrize("cond", [None, {"text": torch.ones(1, 12, 16)}])
def test_a_text_model_needs_encoded_text(prior: Prior, cond: Any) -> None:
    with pytest.raises(UsageError, match="empty prompt"):
        prior.denoiser(torch.ones(1, 4, 8, 8), 1.0, cond)


def test_half_precision_networks_keep_float32_arithmetic(tiny: Path) -> None:
    prior = open_prior(tiny, dtype=torch.bfloat16)
    assert {p.dtype for part in (prior.unet, prior.vae, prior.text_encoder) for p in part.parameters()} == {
        torch.bfloat16
    }
    z, cond, sigma = 3 * Streams.for_batch(0, 2).normal((2, 4, 8, 8)), prior.encode_prompt("red cat"), 2.5
    a = (1 + sigma**2) ** -0.5
    t = prior.table.timestep(torch.tensor(sigma)).float().expand(2)
    with torch.no_grad():
        v = prior.unet((a * z).bfloat16(), t, cond.expand(2, -1, -1)).sample.float()
        got = prior.denoiser(z, sigma, cond)
        rounded = prior.denoiser(z.bfloat16(), sigma, cond)
        v_rounded = prior.unet((a * z.bfloat16().float()).bfloat16(), t, cond.expand(2, -1, -1)).sample.float()
    torch.testing.assert_close(got, a * a * z - sigma * a * v, rtol=1e-6, atol=1e-6)
    assert got.dtype == torch.float32
    expected = (a * a * z.bfloat16().float() - sigma * a * v_rounded).bfloat16()
    torch.testing.assert_close(rounded, expected, rtol=0.005, atol=0)  # one rounding at the end
    latent = prior.encode(torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
    assert (latent.dtype, prior.decode(latent).dtype) == (torch.float32, torch.float32)


def test_half_precision_is_near_full(tiny: Path, prior: Prior) -> None:
    full = ours(prior, Streams.for_batch(3, 3), 5)
    half = ours(open_prior(tiny, dtype=torch.bfloat16), Streams.for_batch(3, 3), 5)
    assert float((half - full).std()) < 0.05 * float(full.std())


# -- guidance ----------------------------------------------------------------------------------------------------------


def calls(prior: Prior) -> list[int]:
    """Batch sizes of the UNet's calls, growing."""
    sizes: list[int] = []
    prior.unet.register_forward_hook(lambda module, inputs, output: sizes.append(len(inputs[0])))
    return sizes


def test_guidance_is_one_batched_call_and_the_formula(exact: Callable[[str], Prior]) -> None:
    prior = exact("epsilon")
    z = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    cond, uncond = prior.encode_prompt(PROMPTS), prior.encode_prompt(NEGATIVE)
    with torch.no_grad():
        with_cond, without = prior.denoiser(z, 2.0, cond), prior.denoiser(z, 2.0, uncond)
        sizes = calls(prior)
        guided = prior.guided(4.0, NEGATIVE)
        got = guided(z, 2.0, cond)
        assert (sizes, guided.cost(2.0)) == ([6], 2)
        torch.testing.assert_close(got, without + 4 * (with_cond - without), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(guided(z, torch.full((3,), 2.0), cond), got, rtol=1e-9, atol=1e-9)
        sizes.clear()
        off = prior.guided(1.0, NEGATIVE)
        torch.testing.assert_close(off(z, 2.0, cond), with_cond, rtol=0, atol=0)
        assert (sizes, off.cost(2.0)) == ([3], 1)
    assert float((got - with_cond).abs().max()) > 0.1


def test_guidance_in_an_interval(prior: Prior) -> None:
    z, cond = Streams.for_batch(0, 2).normal((2, 4, 8, 8)), prior.encode_prompt(PROMPTS[:2])
    limited, guided = prior.guided(4.0, interval=(1.0, 5.0)), prior.guided(4.0)
    with torch.no_grad():
        torch.testing.assert_close(limited(z, 2.0, cond), guided(z, 2.0, cond), rtol=0, atol=0)
        torch.testing.assert_close(limited(z, 0.5, cond), prior.denoiser(z, 0.5, cond), rtol=0, atol=0)
        torch.testing.assert_close(limited(z, 6.0, cond), prior.denoiser(z, 6.0, cond), rtol=0, atol=0)


# -- text --------------------------------------------------------------------------------------------------------------


def test_prompts_are_encoded_as_by_the_pipeline(tiny: Path, pipeline: Factory, prior: Prior) -> None:
    long = "cat house tree of many words that no tokenizer of twelve tokens holds"
    prompts = [*PROMPTS, "", "Ünïcode 🐈 & <|endoftext|>", long]
    expected, negative = pipeline().encode_prompt(prompts, "cpu", 1, True, negative_prompt=[NEGATIVE] * len(prompts))
    got = prior.encode_prompt(prompts)
    assert got.shape == (6, 12, 16)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(prior.encode_prompt(NEGATIVE), negative[:1], rtol=0, atol=1e-6)
    _, empty = pipeline().encode_prompt("cat", "cpu", 1, True)  # without a negative prompt
    torch.testing.assert_close(prior.encode_prompt(""), empty, rtol=0, atol=1e-6)


def test_prompts_of_a_batch_are_encoded_as_one_by_one(prior: Prior) -> None:
    alone = torch.cat([prior.encode_prompt(p) for p in PROMPTS])
    torch.testing.assert_close(prior.encode_prompt(PROMPTS), alone, rtol=0, atol=1e-6)
    assert float((alone[0] - alone[1]).abs().max()) > 0.1
    assert not alone.requires_grad


# -- pictures ----------------------------------------------------------------------------------------------------------


def pictures(batch: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(batch, 3, 16, 16, generator=torch.Generator().manual_seed(1), dtype=dtype)


def test_encode_is_the_scaled_mean_of_the_posterior(prior: Prior) -> None:
    image = pictures()
    posterior = prior.vae.encode(2 * image - 1).latent_dist
    assert prior.vae.config.scaling_factor == 0.5
    torch.testing.assert_close(prior.encode(image), 0.5 * posterior.mean, rtol=0, atol=0)
    streams = Streams.for_batch(0, 2)
    drawn = prior.encode(image, streams)
    sample = posterior.mean + posterior.std * streams.at(0).normal(posterior.mean.shape)
    torch.testing.assert_close(drawn, 0.5 * sample, rtol=1e-6, atol=1e-6)
    assert float((drawn - prior.encode(image)).abs().max()) > 1e-3


def test_decode_undoes_the_scaling(prior: Prior) -> None:
    x = Streams.for_batch(0, 2).normal((2, 4, 8, 8))
    with torch.no_grad():
        raw = prior.vae.decode(x / 0.5).sample
    torch.testing.assert_close(prior.decode(x), (0.5 * raw + 0.5).clamp(0, 1), rtol=0, atol=0)
    assert prior.decode(prior.encode(pictures())).shape == (2, 3, 16, 16)
    assert prior.decode(torch.zeros(1, 4, 4, 12)).shape == (1, 3, 8, 24)
    assert float(prior.decode(100 * x).min()) >= 0
    assert float(prior.decode(100 * x).max()) <= 1


def test_an_autoencoder_with_a_shift(pipeline: Factory, prior: Prior) -> None:
    built = pipeline()
    built.vae.register_to_config(shift_factor=0.25)
    shifted, image = open_prior(built), pictures()
    torch.testing.assert_close(shifted.encode(image), prior.encode(image) - 0.125, rtol=0, atol=1e-6)
    torch.testing.assert_close(
        shifted.decode(shifted.encode(image)), prior.decode(prior.encode(image)), rtol=0, atol=1e-5
    )


def test_encode_has_a_gradient(exact: Callable[[str], Prior]) -> None:
    prior, image = exact("epsilon"), pictures(1, torch.float64)
    towards, along = torch.randn(1, 4, 8, 8, dtype=torch.float64), torch.randn(1, 3, 16, 16, dtype=torch.float64)

    def value(x: Tensor, rng: Streams | None) -> Tensor:
        return (prior.encode(x, rng) * towards).sum()

    for seeded in (None, Streams(0)):
        leaf = image.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(value(leaf, seeded and seeded.at(0)), leaf)
        h = 1e-5
        ahead = value(image + h * along, seeded and seeded.at(0))
        behind = value(image - h * along, seeded and seeded.at(0))
        torch.testing.assert_close((gradient * along).sum(), (ahead - behind) / (2 * h), rtol=1e-6, atol=1e-8)
    assert all(p.grad is None and not p.requires_grad for p in prior.vae.parameters())


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 1, 16, 16), (1, 3, 16, 15), (1, 3, 15, 16)])
def test_encode_refuses_what_is_no_picture(prior: Prior, shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"multiples of 2, got \("):
        prior.encode(torch.zeros(shape))


def test_sizes(prior: Prior) -> None:
    assert (prior.factor, prior.image_size, prior.latent_shape) == (2, 16, (4, 8, 8))


# -- what cannot be opened ---------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tiny: Path, tmp_path: Path) -> Path:
    """A copy of the tiny pipeline to break."""
    return Path(shutil.copytree(tiny, tmp_path / "pipeline"))


def refused(source: Any, *words: str) -> None:
    """Opening raises a PriorError of one line that holds all the words."""
    with pytest.raises(PriorError) as caught:
        open_prior(source)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


@pytest.mark.parametrize("name", ["nowhere", "/no/where", "./no/where", "~/no", "a/b/c"])
def test_no_such_directory(name: str) -> None:
    refused(name, "existing directory or a hub id", name)


def test_a_hub_id_that_is_not_here() -> None:
    refused("no-one/nothing", "no-one/nothing")


def test_a_directory_that_is_no_pipeline(tmp_path: Path) -> None:
    refused(tmp_path, "model_index.json", str(tmp_path))
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file", "model_index.json")


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_another_kind_of_pipeline(folder: Path) -> None:
    edit(folder / "model_index.json", _class_name="StableDiffusionInpaintPipeline")
    refused(folder, "StableDiffusionPipeline", "FluxPipeline", "StableDiffusionInpaintPipeline")


def test_an_object_that_is_no_pipeline(pipeline: Factory) -> None:
    refused(pipeline().unet, "StableDiffusionPipeline", "UNet2DConditionModel")


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_a_pipeline_that_lacks_a_part(folder: Path, part: str) -> None:
    edit(folder / "model_index.json", **{part: [None, None]})
    refused(folder, "lacks", part)


class Trap:
    """Unpickled, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_pickles_are_never_loaded(folder: Path, tmp_path: Path, part: str) -> None:
    for weights in (folder / part).glob("*.safetensors"):
        weights.unlink()
    refused(folder, "safetensors", "no weights", part)
    name = "pytorch_model.bin" if part == "text_encoder" else "diffusion_pytorch_model.bin"
    (folder / part / name).write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    refused(folder, "safetensors", name, part)
    assert not (tmp_path / "sprung").exists()
    pickle.loads((folder / part / name).read_bytes())
    assert (tmp_path / "sprung").exists()  # the trap works


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_pickles_beside_other_safetensors_are_not_loaded(folder: Path, part: str) -> None:
    from safetensors.torch import load_file

    (weights,) = (folder / part).glob("*.safetensors")
    name = "pytorch_model.bin" if part == "text_encoder" else "diffusion_pytorch_model.bin"
    torch.save(load_file(weights), folder / part / name)  # good weights, which the libraries would take
    weights.rename(folder / part / "other.safetensors")
    refused(folder, "cannot be loaded")


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
@pytest.mark.parametrize("kept", [0, 5, 1000, -1])
def test_damaged_weights(folder: Path, part: str, kept: int) -> None:
    (weights,) = (folder / part).glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:kept])
    refused(folder, str(folder), "cannot be loaded")


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_weights_that_lack_a_tensor(folder: Path, part: str) -> None:
    from safetensors.torch import load_file, save_file

    (weights,) = (folder / part).glob("*.safetensors")
    tensors = load_file(weights)
    gone = next(k for k in sorted(tensors) if k.endswith("weight"))
    del tensors[gone]
    save_file(tensors, weights, metadata={"format": "pt"})
    refused(folder, "lacks", part, gone)


@pytest.mark.parametrize(
    "file",
    [
        "model_index.json",
        "unet/config.json",
        "vae/config.json",
        "text_encoder/config.json",
        "tokenizer/vocab.json",
        "scheduler/scheduler_config.json",
    ],
)
def test_damaged_json(folder: Path, file: str) -> None:
    if file == "tokenizer/vocab.json" and not (folder / file).exists():
        file = "tokenizer/tokenizer.json"  # transformers 5 writes one file
    (folder / file).write_text((folder / file).read_text()[:30])
    refused(folder, str(folder))


def test_an_index_that_is_no_mapping(folder: Path) -> None:
    (folder / "model_index.json").write_text("[]")
    refused(folder, str(folder))


def test_an_unknown_prediction_type(folder: Path) -> None:
    edit(folder / "scheduler" / "scheduler_config.json", prediction_type="flow")
    refused(folder, "epsilon, v_prediction, sample", "'flow'")


def test_an_inpainting_network(pipeline: Factory) -> None:
    from diffusers import UNet2DConditionModel

    built = pipeline()
    config = {k: v for k, v in built.unet.config.items() if not k.startswith("_")}
    built.unet = UNet2DConditionModel(**{**config, "in_channels": 9})
    refused(built, "9 channels", "4")


def test_a_text_encoder_of_another_width(pipeline: Factory) -> None:
    from transformers import CLIPTextConfig, CLIPTextModel

    built = pipeline()
    config = CLIPTextConfig(**{**built.text_encoder.config.to_dict(), "hidden_size": 32})
    built.text_encoder = CLIPTextModel(config)
    refused(built, "as wide as", "16", "32")


def test_a_tokenizer_that_is_not_there(folder: Path) -> None:
    shutil.rmtree(folder / "tokenizer")
    refused(folder, "lacks", "tokenizer")


def test_a_safety_checker_is_not_run_and_told_of_once(folder: Path, recwarn: pytest.WarningsRecorder) -> None:
    edit(folder / "model_index.json", safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"])
    open_prior(folder)
    told = [str(w.message) for w in recwarn if "safety checker" in str(w.message)]
    assert told == [f"{folder} has a safety checker, which modeseek does not run: pictures are not checked"]


def test_a_pipeline_object_with_a_safety_checker(pipeline: Factory) -> None:
    built = pipeline()
    built.register_modules(safety_checker=torch.nn.Identity())
    with pytest.warns(UserWarning, match="StableDiffusionPipeline has a safety checker.*not checked"):
        open_prior(built)
    assert built.safety_checker is not None


def test_a_network_that_wants_more_than_text(pipeline: Factory) -> None:
    built = pipeline()
    built.unet.register_to_config(addition_embed_type="text_time")
    refused(built, "text alone", "addition_embed_type")


def test_a_pipeline_object_keeps_its_dtype(pipeline) -> None:
    assert open_prior(pipeline().to(torch.float64)).unet.dtype == torch.float64
    assert open_prior(pipeline().to(torch.float64), dtype=torch.float32).unet.dtype == torch.float32
