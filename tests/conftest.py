"""What the tests share: one thread, no network, and tiny pipelines with random weights."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_families import FamilyFactory

from modeseek import cli

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
torch.set_num_threads(1)

START, END = "<|startoftext|>", "<|endoftext|>"
MERGES = ["r e", "re d</w>", "c a", "ca t</w>"]  # "red" and "cat" are one token each, all else is spelt
# Stable Diffusion's levels, on a latent that is not clipped
SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}


@pytest.fixture
def modeseek(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in this process, in an empty folder: exit code, output, errors with their spaces joined."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, " ".join(err.split())

    return run


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """One thread in every test, and the global generator as it was."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tokenizer_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer in CLIP's layout: every byte, alone and at the end of a word, and four merges."""
    from tokenizers.pre_tokenizers import ByteLevel

    folder = tmp_path_factory.mktemp("tokenizer")
    alphabet = sorted(ByteLevel.alphabet())
    words = alphabet + [c + "</w>" for c in alphabet] + [m.replace(" ", "") for m in MERGES] + [START, END]
    (folder / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(words)}, ensure_ascii=False))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES]) + "\n")
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 12, "do_lower_case": True, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    return folder


@pytest.fixture(scope="session")
def parts(tokenizer_dir: Path) -> dict[str, Any]:
    """Networks with random weights, 60 thousand in all: 4 x 8 x 8 latents of 16 x 16 pictures, texts of 12 tokens."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_dir)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = UNet2DConditionModel(
            sample_size=8,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            block_out_channels=(8, 16),
            layers_per_block=1,
            cross_attention_dim=16,
            attention_head_dim=2,
            norm_num_groups=4,
        )
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            block_out_channels=(4, 8),
            norm_num_groups=2,
            scaling_factor=0.5,
        )
        config = CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=12,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            initializer_range=0.3,  # wide, so that prompts differ
        )
        text_encoder = CLIPTextModel(config)
    return {
        "unet": unet.eval(),
        "vae": vae.eval(),
        "text_encoder": text_encoder.eval(),
        "tokenizer": tokenizer,
    }


def build_pipeline(parts: dict[str, Any], scheduler: str = "DDIMScheduler", **options: Any) -> Any:
    """A diffusers pipeline of the tiny networks; ``scheduler`` is a class of diffusers, ``options`` its arguments."""
    import diffusers

    chosen = getattr(diffusers, scheduler)(**SD, **options)
    built = diffusers.StableDiffusionPipeline(
        **copy.deepcopy(parts),  # so that a test may change them
        scheduler=chosen,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    built.set_progress_bar_config(disable=True)
    return built


@pytest.fixture(scope="session")
def pipeline(parts: dict[str, Any]) -> Callable[..., Any]:
    """Factory of pipelines: ``pipeline("PNDMScheduler", prediction_type="v_prediction", ...)``."""

    def build(scheduler: str = "DDIMScheduler", **options: Any) -> Any:
        if scheduler == "DDIMScheduler":
            options.setdefault("clip_sample", False)
        return build_pipeline(parts, scheduler, **options)

    return build


@pytest.fixture(scope="session")
def pipeline_dir(pipeline: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Factory of saved pipelines, as ``pipeline``; the folder of equal arguments is shared, so leave it as it is."""
    made: dict[str, Path] = {}

    def save(scheduler: str = "DDIMScheduler", **options: Any) -> Path:
        key = json.dumps([scheduler, options], sort_keys=True)
        if key not in made:
            made[key] = tmp_path_factory.mktemp("pipeline")
            pipeline(scheduler, **options).save_pretrained(made[key], safe_serialization=True)
        return made[key]

    return save


@pytest.fixture(scope="session")
def family(parts: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Factory of tiny pipelines of every family: ``family("flux-dev")``; ``options`` are the scheduler's."""
    return FamilyFactory(parts, tmp_path_factory.mktemp("t5"))


@pytest.fixture(scope="session")
def family_dir(family: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Factory of saved pipelines of every family; the folder of equal arguments is shared, so leave it as it is."""
    made: dict[str, Path] = {}

    def save(name: str, **options: Any) -> Path:
        key = json.dumps([name, options], sort_keys=True)
        if key not in made:
            made[key] = tmp_path_factory.mktemp(name)
            family(name, **options).save_pretrained(made[key], safe_serialization=True)
        return made[key]

    return save


@pytest.fixture(scope="session")
def tiny(pipeline_dir: Callable[..., Path]) -> Path:
    """The usual tiny pipeline, saved: Stable Diffusion's scheduler, velocity prediction."""
    return pipeline_dir(prediction_type="v_prediction", set_alpha_to_one=False, steps_offset=1)
