"""The shipped model is an ordinary pipeline that diffusers opens without us, and samples the same there and here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from modeseek.config import ImageConfig, resolve
from modeseek.metrics import ImageText
from modeseek.priors import open_prior
from modeseek.randomness import Streams
from modeseek.shipped import MODELS, POCKET, POCKET_CLIP
from modeseek.text2image import TextToImage


def test_small_and_safe() -> None:
    assert sum(p.stat().st_size for p in POCKET.rglob("*") if p.is_file()) <= 25e6
    files = [p for p in MODELS.rglob("*") if p.is_file()]
    weights = [p for p in files if p.stat().st_size > 500_000 and p.suffix != ".png"]
    assert weights
    assert {p.suffix for p in weights} == {".safetensors"}
    assert {p.suffix for p in files} <= {".safetensors", ".json", ".txt", ".md", ".png"}


def test_transformers_4_opens_it_too() -> None:
    # it knows these names alone, and would fill the text encoder with random numbers; transformers 5 takes both
    from safetensors import safe_open

    with safe_open(POCKET / "text_encoder" / "model.safetensors", "pt") as file:
        assert all(key.startswith("text_model.") for key in file.keys())  # noqa: SIM118
    assert {"vocab.json", "merges.txt"} <= {p.name for p in (POCKET / "tokenizer").iterdir()}


def test_diffusers_opens_it_and_samples_what_we_sample() -> None:
    from diffusers import DDIMScheduler, DiffusionPipeline, StableDiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(POCKET, torch_dtype=torch.float32)
    assert type(pipeline) is StableDiffusionPipeline
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    prior, streams = open_prior(), Streams.for_batch(0, 2)
    expected = pipeline(
        ["hamburger", "cat face"],
        negative_prompt=["ugly"] * 2,
        num_inference_steps=8,
        guidance_scale=4.0,
        latents=streams.normal((2, *prior.latent_shape)),
        output_type="latent",
    ).images
    cond = prior.encode_prompt(["hamburger", "cat face"])
    got = prior.sample(cond, streams.at(0), steps=8, guidance_scale=4.0, negative="ugly")
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))
    picture = prior.decode(got)
    assert picture.shape == (2, 3, prior.image_size, prior.image_size)
    assert float(picture.std()) > 0.05  # not one colour


def test_it_is_what_a_run_takes_if_nothing_is_said(tmp_path: Path) -> None:
    config = ImageConfig(("hamburger",), out=tmp_path / "run", steps=2, sample_steps=2)
    assert resolve(config).preset == "quick"
    job = TextToImage.start(config)
    assert job.prior.name == str(POCKET)
    assert job.advance()
    assert (tmp_path / "run" / "final.png").is_file()


@pytest.mark.slow
def test_quick_ends_in_pictures_of_their_prompts(tmp_path: Path) -> None:
    """The small CLIP ranks the right name among the first ten of 1601 for at least three of four prompts."""
    prompts = ("cat face", "red heart", "grinning face", "soccer ball")
    job = TextToImage.start(ImageConfig(prompts, out=tmp_path / "run"))
    assert job.advance()
    names = (POCKET_CLIP / "names.txt").read_text().splitlines()
    ranks = ImageText.open().rank(job.images(), names, prompts)
    assert int((ranks <= 10).sum()) >= 3, dict(zip(prompts, ranks.tolist()))
    last = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["converged"]
    assert last["bandwidth"] == pytest.approx(job.settings.bandwidth_end)
