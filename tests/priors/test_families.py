"""Every family: saved, opened offline, and equal to diffusers' own pipeline. Equations FLOW-1, SIGMA-4, DDIM-1."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_families import LATENT, NAMES
from torch import Tensor

from modeseek.config import ImageConfig
from modeseek.errors import PriorError, UsageError
from modeseek.priors import LatentPrior, Prior, open_prior
from modeseek.randomness import Streams
from modeseek.text2image import TextToImage

Factory = Callable[..., Any]
PROMPTS = ["red cat", "tree"]
WITH_TEXT = ("sdxl", "sd3", "sd3-without-t5", "flux-dev", "flux-schnell")


@pytest.fixture(scope="module")
def opened(family_dir: Factory) -> Callable[[str], Prior]:
    """Each saved pipeline, opened once."""
    made: dict[str, Prior] = {}

    def get(name: str) -> Prior:
        if name not in made:
            made[name] = open_prior(family_dir(name))
        return made[name]

    return get


def close(got: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


# -- samples -----------------------------------------------------------------------------------------------------------


def pipeline_latents(name: str, built: Any, eps: Tensor, steps: int, scale: float, negative: str | None) -> Tensor:
    """Latents of diffusers' pipeline from given noise."""
    options = {"num_inference_steps": steps, "height": 16, "width": 16, "output_type": "latent"}
    negatives = None if negative is None else [negative] * 2
    if name.startswith("flux"):
        tokens = built(
            PROMPTS,
            negative_prompt=negatives or ["", ""],
            true_cfg_scale=scale,
            guidance_scale=3.5,
            latents=built._pack_latents(eps, *eps.shape),
            **options,
        ).images
        return built._unpack_latents(tokens, 16, 16, built.vae_scale_factor)
    return built(PROMPTS, negative_prompt=negatives, guidance_scale=scale, latents=eps, **options).images


@pytest.mark.parametrize("negative", [None, "ugly"])
@pytest.mark.parametrize("scale", [1.0, 4.0])
@pytest.mark.parametrize("name", WITH_TEXT)
def test_samples_of_text_are_those_of_the_pipeline(
    name: str, scale: float, negative: str | None, family: Factory, opened: Callable[[str], Prior]
) -> None:
    prior, streams = opened(name), Streams.for_batch(3, 2)
    expected = pipeline_latents(name, family(name), streams.normal((2, 4, 8, 8)), 5, scale, negative)
    cond = prior.encode_prompt(PROMPTS)
    got = prior.sample(cond, streams.at(0), steps=5, guidance_scale=scale, negative=negative or "")
    close(got, expected)


@pytest.mark.parametrize("steps", [1, 2, 30])
@pytest.mark.parametrize("name", ["sd3", "flux-dev"])
def test_flows_of_any_number_of_steps(name: str, steps: int, family: Factory, opened: Callable[[str], Prior]) -> None:
    prior, streams = opened(name), Streams.for_batch(4, 2)
    expected = pipeline_latents(name, family(name), streams.normal((2, 4, 8, 8)), steps, 1.0, None)
    close(prior.sample(prior.encode_prompt(PROMPTS), streams.at(0), steps=steps, guidance_scale=1.0), expected)


@pytest.mark.parametrize("options", [{"use_karras_sigmas": True}, {"use_dynamic_shifting": True}, {"shift": 1.0}])
def test_other_flow_schedules(options: dict[str, Any], family: Factory) -> None:
    streams = Streams.for_batch(4, 2)
    built = family("sd3", **options)
    prior = open_prior(family("sd3", **options))
    expected = pipeline_latents("sd3", built, streams.normal((2, 4, 8, 8)), 6, 4.0, None)
    got = prior.sample(prior.encode_prompt(PROMPTS), streams.at(0), steps=6, guidance_scale=4.0)
    close(got, expected)


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_samples_of_classes_are_those_of_the_pipeline(
    scale: float, family: Factory, opened: Callable[[str], Prior]
) -> None:
    prior, built = opened("dit"), family("dit")
    drawn = torch.Generator().manual_seed(5)
    expected = built([7, 12], guidance_scale=scale, generator=drawn, num_inference_steps=5, output_type="pt").images
    rng = torch.Generator().manual_seed(5)
    got = prior.sample(prior.encode_prompt(["7", "12"]), rng, steps=5, guidance_scale=scale)
    close(prior.decode(got), expected)


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_samples_without_a_condition_are_those_of_the_pipeline(eta: float, clip: bool, family: Factory) -> None:
    from diffusers import DDIMPipeline

    built, drawn = family("ddpm", clip_sample=clip), torch.Generator().manual_seed(6)
    pipe = DDIMPipeline(built.unet, built.scheduler)
    pipe.set_progress_bar_config(disable=True)
    options = {"eta": eta, "num_inference_steps": 5, "use_clipped_model_output": True, "output_type": "pt"}
    expected = pipe(1, generator=drawn, **options).images
    got = open_prior(pipe).sample(None, torch.Generator().manual_seed(6), steps=5, eta=eta)
    close(open_prior(built).decode(got), expected)
    assert float(expected.std()) > 0.01


def test_a_sample_for_each_stream_where_there_is_no_condition(opened: Callable[[str], Prior]) -> None:
    prior = opened("ddpm")
    both = prior.sample(None, Streams.for_batch(0, 2), steps=2)
    assert both.shape == (2, 3, 16, 16)
    torch.testing.assert_close(prior.sample(None, Streams(0, [1]), steps=2), both[1:], rtol=0, atol=1e-4)


def test_ancestral_flow_from_pure_noise(opened: Callable[[str], Prior]) -> None:
    """The share of fresh noise after tau = 1: z = D + sigma' (sqrt(1 - eta^2) eps + eta n). FLOW-1."""
    prior, cond = opened("sd3"), opened("sd3").encode_prompt("tree")
    n = 4000
    prior_levels, seen = prior.levels, {}

    def guide(denoiser: Any) -> Any:
        def call(z: Tensor, sigma: Any, cond: Any = None) -> Tensor:
            seen.setdefault("z" if isinstance(sigma, float) and sigma < 1e6 else "eps", z)
            return torch.zeros_like(z)

        return call

    eps = torch.randn(n, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    rng = torch.Generator().manual_seed(1)
    prior_levels.integrate(guide, eps, cond, steps=3, eta=0.6, rng=rng)
    scaled = seen["z"] / float(prior.grid(3).sigmas[1])
    assert abs(float(scaled.square().mean()) - 1) < 5 * (2 / n) ** 0.5
    assert abs(float((scaled * eps).mean()) - 0.8) < 5 / n**0.5


# -- levels ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sd3", "flux-schnell"])
def test_a_flow_has_its_schedulers_levels(name: str, opened: Callable[[str], Prior]) -> None:
    prior = opened(name)
    scheduler = type(prior.scheduler).from_config(prior.scheduler.config)
    tau = scheduler.sigmas.double().flip(0)
    assert float(tau[-1]) == 1
    ours = prior.table.sigmas / (1 + prior.table.sigmas)
    torch.testing.assert_close(ours, tau[:-1], rtol=0, atol=2e-7)
    grid = prior.grid(4)
    assert float(grid.sigmas[0]) == prior.table.sigma_max
    assert float(grid.sigmas[-1]) == 0
    torch.testing.assert_close(
        grid.sigmas[1:] / (1 + grid.sigmas[1:]), prior.scheduler.sigmas[1:].double(), rtol=0, atol=1e-12
    )


def test_flux_takes_the_shift_of_its_own_size(opened: Callable[[str], Prior]) -> None:
    prior, mu = opened("flux-dev"), 0.5 + (16 - 256) * (1.15 - 0.5) / (4096 - 256)
    t = torch.arange(1, 1000, dtype=torch.float64) / 1000
    torch.testing.assert_close(prior.table.sigmas, torch.tensor(mu).double().exp() * t / (1 - t), rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", ["sd3", "flux-dev"])
def test_a_flow_is_asked_within_its_table(name: str, opened: Callable[[str], Prior]) -> None:
    prior = opened(name)
    x, cond = torch.ones(1, 4, 8, 8), prior.encode_prompt("tree")
    with pytest.raises(UsageError, match="sigma_max"):
        prior.denoiser(x, 2 * prior.table.sigma_max, cond)
    with torch.no_grad():
        lowest = prior.denoiser(x, prior.table.sigma_min, cond)
        torch.testing.assert_close(prior.denoiser(x, 0.0, cond), lowest, rtol=0, atol=0)
    with pytest.raises(UsageError, match="between 1 and 999"):
        prior.grid(1000)


# -- conditions --------------------------------------------------------------------------------------------------------


def test_flux_distilled_guidance_is_an_input(opened: Callable[[str], Prior]) -> None:
    dev, schnell = opened("flux-dev"), opened("flux-schnell")
    assert (dev.distilled_guidance, schnell.distilled_guidance) == (3.5, None)
    stronger, x, cond = dev.with_distilled_guidance(7.0), torch.ones(1, 4, 8, 8), dev.encode_prompt("tree")
    assert (stronger.distilled_guidance, dev.distilled_guidance) == (7.0, 3.5)
    with torch.no_grad():
        change = stronger.denoiser(x, 1.0, cond) - dev.denoiser(x, 1.0, cond)
    assert float(change.abs().max()) > 1e-3
    with pytest.raises(UsageError, match="none as an input"):
        schnell.with_distilled_guidance(2.0)


def test_sdxl_without_a_negative_prompt_takes_zeros(family: Factory) -> None:
    built = family("sdxl")
    zeros = open_prior(built).uncond("")
    assert float(zeros["text"].abs().max()) == 0
    assert zeros["time_ids"].tolist() == [[16, 16, 0, 0, 16, 16]]
    built.register_to_config(force_zeros_for_empty_prompt=False)
    prior = open_prior(built)
    torch.testing.assert_close(prior.uncond("")["text"], prior.encode_prompt("")["text"], rtol=0, atol=0)
    assert float(prior.uncond("")["text"].abs().max()) > 0.1


def test_classes_by_name_and_number(family: Factory, family_dir: Factory, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(family_dir("dit"), tmp_path / "dit"))
    index = json.loads((folder / "model_index.json").read_text())
    index["id2label"] = {"0": "tench, Tinca tinca", "7": "cock"}  # as on the hub
    (folder / "model_index.json").write_text(json.dumps(index))
    for prior in (open_prior(folder), open_prior(family("dit"))):
        cond = prior.encode_prompt(["tench", "Tinca tinca", "cock", "999", ""])
        assert cond["label"].tolist() == [0, 0, 7, 999, 1000]
        assert prior.uncond("")["label"].tolist() == [1000]
    for wrong in ("1000", "dog", "-1"):
        with pytest.raises(UsageError, match=r"from 0 to 999 or one of its 3 names"):
            prior.encode_prompt(wrong)
    with pytest.raises(UsageError, match="it lists no names"):
        open_prior(family_dir("dit")).encode_prompt("dog")


@pytest.mark.parametrize("name", ["dit", "ddpm"])
def test_a_negative_prompt_needs_text(name: str, opened: Callable[[str], Prior]) -> None:
    with pytest.raises(UsageError, match="negative prompt must be empty for a model without text, got 'ugly'"):
        opened(name).guided(1.0, "ugly")


def test_an_unconditional_model_takes_neither_prompt_nor_guidance(opened: Callable[[str], Prior]) -> None:
    prior = opened("ddpm")
    with pytest.raises(UsageError, match="guidance must be 1, off, for an unconditional model, got 4"):
        prior.guided(4.0)
    with pytest.raises(UsageError, match="an unconditional model must go without a prompt, got 'cat'"):
        prior.encode_prompt(["", "cat"])
    with pytest.raises(UsageError, match="cond must be None"):
        prior.denoiser(torch.ones(1, 3, 16, 16), 1.0, torch.ones(1, 2, 3))


@pytest.mark.parametrize("name", LATENT)
def test_another_models_condition_is_refused(name: str, opened: Callable[[str], Prior]) -> None:
    for cond in (None, torch.ones(1, 12, 32), {"text": torch.ones(1, 12, 32)}):
        with pytest.raises(UsageError, match="cond must hold"):
            opened(name).denoiser(torch.ones(1, 4, 8, 8), 1.0, cond)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "ddpm"])
def test_rows_of_a_guided_batch_are_those_alone(name: str, opened: Callable[[str], Prior]) -> None:
    prior = opened(name)
    prompts = ["7", "12"] if name == "dit" else PROMPTS
    z, levels = Streams.for_batch(0, 2).normal((2, 4, 8, 8)), torch.tensor([0.5, 3.0])
    guided = prior.guided(4.0)
    with torch.no_grad():
        both = guided(z, levels, prior.encode_prompt(prompts))
        alone = [guided(z[i : i + 1], float(levels[i]), prior.encode_prompt(prompts[i])) for i in range(2)]
    torch.testing.assert_close(both, torch.cat(alone), rtol=1e-4, atol=1e-4)
    assert guided.cost(1.0) == 2


# -- pictures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "multiple"), [("sdxl", 2), ("sd3", 4), ("flux-dev", 4), ("dit", 16), ("ddpm", 2)])
def test_sizes(name: str, multiple: int, opened: Callable[[str], Prior]) -> None:
    prior = opened(name)
    assert (prior.image_size, prior.multiple) == (16, multiple)
    assert prior.encode(torch.rand(1, 3, 16, 16)).shape[1:] == prior.latent_shape
    with pytest.raises(UsageError, match=rf"sides multiples of {multiple}, got"):
        prior.encode(torch.zeros(1, 3, 16 + multiple // 2, 16))


@pytest.mark.parametrize(
    ("name", "match"), [("sd3", "multiples of 2"), ("flux-dev", "multiples of 2"), ("dit", "8 x 8")]
)
def test_a_latent_of_a_wrong_size(name: str, match: str, opened: Callable[[str], Prior]) -> None:
    prior = opened(name)
    cond = prior.encode_prompt("7" if name == "dit" else "tree")
    with pytest.raises(UsageError, match=match):
        prior.denoiser(torch.zeros(1, 4, 7, 8), 1.0, cond)


def test_a_model_of_pixels_scales_them(opened: Callable[[str], Prior]) -> None:
    prior, image = opened("ddpm"), torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(prior.encode(image), 2 * image - 1, rtol=0, atol=0)
    torch.testing.assert_close(prior.decode(prior.encode(image)), image, rtol=0, atol=1e-6)
    assert not isinstance(prior, LatentPrior)


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_is_near_full(name: str, family_dir: Factory, opened: Callable[[str], Prior]) -> None:
    full, half = opened(name), open_prior(family_dir(name), dtype=torch.bfloat16)
    assert half.denoiser.network.dtype == torch.bfloat16
    z = Streams.for_batch(0, 2).normal((2, *full.latent_shape))
    prompts = {"dit": ["7", "12"], "ddpm": ["", ""]}.get(name, PROMPTS)
    with torch.no_grad():
        exact = full.denoiser(z, 1.0, full.encode_prompt(prompts))
        got = half.denoiser(z, 1.0, half.encode_prompt(prompts))
    assert got.dtype == torch.float32
    assert float((got - exact).norm() / exact.norm()) < 0.05
    latent = half.encode(torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
    assert (latent.dtype, half.decode(latent).dtype) == (torch.float32, torch.float32)


@pytest.mark.parametrize("name", NAMES)
def test_a_fingerprint_tells_weights_apart(name: str, family: Factory, opened: Callable[[str], Prior]) -> None:
    other = family(name)
    network = other.components.get("transformer") or other.unet
    with torch.no_grad():
        changed = [p for k, p in network.named_parameters() if k.startswith(("conv_in", "pos_embed", "x_embedder"))]
        changed[0].mul_(1.01)
    assert open_prior(other).fingerprint != opened(name).fingerprint
    assert open_prior(family(name)).fingerprint == opened(name).fingerprint


@pytest.mark.parametrize("generator", ["mlp", "latents"])
@pytest.mark.parametrize("name", LATENT)
def test_a_picture_by_every_latent_family(name: str, generator: str, family_dir: Factory, tmp_path: Path) -> None:
    config = ImageConfig(
        ("7" if name == "dit" else "red cat",),
        prior=str(family_dir(name)),
        out=tmp_path / "run",
        generator=generator,
        steps=2,
        sample_steps=2,
        mlp_features=8,
        mlp_width=8,
    )
    job = TextToImage.start(config)
    before = job.images()
    assert job.advance()
    assert float((job.images() - before).abs().max()) > 0
    assert (tmp_path / "run" / "final.png").is_file()


# -- what cannot be opened ---------------------------------------------------------------------------------------------


def refused(source: Any, *words: str) -> None:
    with pytest.raises(PriorError) as caught:
        open_prior(source)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("sdxl", {"text_encoder_2": "text_encoder"}),
        ("sd3", {"text_encoder_3": "wide"}),
        ("flux-dev", {"text_encoder_2": "wide"}),
    ],
)
def test_text_encoders_of_another_width(name: str, change: dict[str, str], family: Factory) -> None:
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    built = family(name)
    ((part, kind),) = change.items()
    if kind == "wide":
        getattr(built, part).config.d_model = 48
    else:
        config = CLIPTextConfig(**{**built.text_encoder.config.to_dict(), "hidden_size": 32, "projection_dim": 16})
        setattr(built, part, CLIPTextModelWithProjection(config))
    refused(built, "as wide as", "48")


def test_a_scheduler_of_another_kind_of_model(family: Factory, family_dir: Factory, tmp_path: Path) -> None:
    from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler

    flow, vp = family("sd3"), family("sdxl")
    flow.scheduler, vp.scheduler = DDIMScheduler(), FlowMatchEulerDiscreteScheduler()
    refused(flow, "flow matching", "DDIMScheduler")
    refused(vp, "variance-preserving", "FlowMatchEulerDiscreteScheduler")
    folder = Path(shutil.copytree(family_dir("sd3"), tmp_path / "sd3"))
    index = json.loads((folder / "model_index.json").read_text())
    index["scheduler"] = ["diffusers", "DDIMScheduler"]
    (folder / "model_index.json").write_text(json.dumps(index))
    refused(folder, "flow matching", "DDIMScheduler")


@pytest.mark.parametrize("options", [{"num_train_timesteps": 500}, {"invert_sigmas": True}])
def test_flow_levels_that_are_not_known(options: dict[str, Any], family: Factory) -> None:
    refused(family("sd3", **options), "1000 levels")


def test_networks_that_take_more(family: Factory) -> None:
    sdxl, ddpm, flux = family("sdxl"), family("ddpm"), family("flux-dev")
    sdxl.unet.register_to_config(addition_embed_type="text")
    refused(sdxl, "addition_embed_type text_time", "text")
    ddpm.unet.register_to_config(num_class_embeds=10)
    refused(ddpm, "unconditional", "classes")
    flux.transformer.register_to_config(in_channels=64)  # as for inpainting
    refused(flux, "16 channels", "4")
    grey = copy.deepcopy(family("ddpm"))
    grey.unet.register_to_config(in_channels=1)
    refused(grey, "3 channels", "1")
    mean = family("dit")
    mean.vae.register_to_config(latents_mean=[0.0] * 4)
    refused(mean, "latents_mean")


@pytest.mark.parametrize(("name", "part"), [("sd3", "tokenizer_2"), ("flux-dev", "text_encoder_2"), ("dit", "vae")])
def test_a_pipeline_that_lacks_a_part(name: str, part: str, family_dir: Factory, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(family_dir(name), tmp_path / name))
    index = json.loads((folder / "model_index.json").read_text())
    index[part] = [None, None]
    (folder / "model_index.json").write_text(json.dumps(index))
    refused(folder, "lacks", part)


@pytest.mark.parametrize(("name", "part"), [("flux-dev", "transformer"), ("sd3", "text_encoder_3"), ("ddpm", "unet")])
def test_weights_that_lack_a_tensor(name: str, part: str, family_dir: Factory, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(family_dir(name), tmp_path / name))
    (weights,) = (folder / part).glob("*.safetensors")
    tensors = load_file(weights)
    gone = next(k for k in sorted(tensors) if k.endswith("weight"))
    del tensors[gone]
    save_file(tensors, weights, metadata={"format": "pt"})
    refused(folder, "lacks", part, gone)
