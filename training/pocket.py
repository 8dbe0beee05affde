"""Train the denoiser and its text encoder together on the autoencoder's latents; write the pipeline's folder.

    python -m training.pocket --data PATH --out training/out

The folder that it writes, ``OUT/pocket``, is an ordinary Stable-Diffusion-layout directory in half precision.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from training.autoencoder import SIZE
from training.data import Picture, check_manifest, load_pictures, read_captions
from training.loop import channels_last, contiguous, load_averages, train
from training.muon import Muon
from training.tokenizer import MAX_TOKENS, train_tokenizer

WIDTH = 192  # of the text encoder, and of the cross-attention
# how often a training caption is: nothing (for guidance), the group, the subgroup; else the name
DROP, GROUP, SUBGROUP = 0.10, 0.04, 0.08


def build_unet() -> UNet2DConditionModel:
    """8.6 M parameters: 64 channels at 16x16, 128 with attention at 8x8, 192 with attention in the middle at 4x4."""
    return UNet2DConditionModel(
        sample_size=SIZE // 4,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(64, 128, 192),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,  # diffusers reads this as the number of heads
        norm_num_groups=16,
    )


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Three layers of width 192."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=3 * WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=MAX_TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        projection_dim=WIDTH,
    )
    return CLIPTextModel(config)


def build_scheduler() -> DDIMScheduler:
    """Stable Diffusion's noise levels, velocity prediction."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


class Prior(nn.Module):
    """The two networks that are trained together."""

    def __init__(self, unet: UNet2DConditionModel, text_encoder: CLIPTextModel) -> None:
        super().__init__()
        self.unet, self.text_encoder = unet, text_encoder

    def forward(self, z: Tensor, t: Tensor, tokens: Tensor) -> Tensor:
        """Velocity, (B, 4, H, W), of noisy latents (B, 4, H, W) at timesteps (B,) under token ids (B, L)."""
        cond = self.text_encoder(tokens).last_hidden_state
        velocity: Tensor = self.unet(z, t, cond).sample
        return velocity


def tokenise(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Token ids, (len(texts), MAX_TOKENS)."""
    padded = tokenizer(texts, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt")
    ids: Tensor = padded.input_ids
    return ids


def caption_table(tokenizer: CLIPTokenizer, pictures: list[Picture]) -> Tensor:
    """Token ids of (nothing, group, subgroup, name) of every picture: (N, 4, MAX_TOKENS)."""
    names, groups, subgroups = zip(*(p.captions() for p in pictures), strict=True)
    kinds = [[""] * len(pictures), list(groups), list(subgroups), list(names)]
    return torch.stack([tokenise(tokenizer, texts) for texts in kinds], dim=1)


def encode_pictures(vae: AutoencoderKL, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the latents of ``x``."""
    with torch.no_grad():
        posteriors = [vae.encode(part).latent_dist for part in torch.split(x, 64)]
    return torch.cat([p.mean for p in posteriors]), torch.cat([p.std for p in posteriors])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with captions.csv and png/")
    parser.add_argument("--out", type=Path, default=Path("training/out"))
    parser.add_argument("--init", type=Path, help="start from the weights of this pipeline folder")
    parser.add_argument(
        "--export", action="store_true", help="write the pipeline of the last checkpoint, train nothing"
    )
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument(
        "--seconds", type=float, default=math.inf, help="stop after this many seconds, with a checkpoint"
    )
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    check_manifest(args.data)
    pictures = read_captions(args.data)
    x = load_pictures(args.data, pictures, SIZE)
    torch.manual_seed(args.seed)
    if args.init is None:
        vae = AutoencoderKL.from_pretrained(args.out / "vae").eval()
        folder = args.out / "tokenizer"
        if (folder / "vocab.json").is_file():
            tokenizer = CLIPTokenizer.from_pretrained(folder)
        else:
            tokenizer = train_tokenizer([c for p in pictures for c in p.captions()], folder)
        unet, text_encoder = build_unet(), build_text_encoder(tokenizer)
    else:
        vae = AutoencoderKL.from_pretrained(args.init / "vae", torch_dtype=torch.float32).eval()
        tokenizer = CLIPTokenizer.from_pretrained(args.init / "tokenizer")
        unet = UNet2DConditionModel.from_pretrained(args.init / "unet", torch_dtype=torch.float32)
        text_encoder = CLIPTextModel.from_pretrained(args.init / "text_encoder").float()
    mean, std = encode_pictures(vae, x)
    captions = caption_table(tokenizer, pictures)
    scheduler = build_scheduler()
    abar = scheduler.alphas_cumprod
    # on a CPU plain matrix products are a fifth quicker in training than the fused attention kernel in bfloat16
    unet.set_attn_processor(AttnProcessor())
    prior = Prior(unet, text_encoder)
    channels_last(prior)

    def loss(model: Any, step: int, generator: torch.Generator) -> Tensor:
        index = torch.randint(len(pictures), (args.batch,), generator=generator)
        u = torch.rand(args.batch, generator=generator)
        kind = (u >= DROP).long() + (u >= DROP + GROUP).long() + (u >= DROP + GROUP + SUBGROUP).long()
        # stratified over the batch, so that every step sees all noise levels; the square root puts more of them where
        # the picture has to come from the text alone, which is what takes long to learn
        position = (torch.arange(args.batch) + torch.rand(args.batch, generator=generator)) / args.batch
        t = (position.sqrt() * len(abar)).long().clamp(max=len(abar) - 1)
        latent = mean[index] + std[index] * torch.randn(mean[index].shape, generator=generator)
        eps = torch.randn(latent.shape, generator=generator)
        a, s = abar[t].sqrt()[:, None, None, None], (1 - abar[t]).sqrt()[:, None, None, None]
        z = (a * latent + s * eps).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            velocity = model(z, t, captions[index, kind])
        error: Tensor = (velocity.float() - (a * eps - s * latent)).square().mean()
        return error

    if args.export:
        load_averages(args.out / "prior", prior)
        write_pipeline(args.out / "pocket", vae, tokenizer, prior)
        return
    trained = train(
        prior,
        loss,
        folder=args.out / "prior",
        steps=args.steps,
        peak_lr=args.lr,
        seed=args.seed,
        seconds=args.seconds,
        decay=0.999,
        optimiser=Muon(prior, args.lr),
    )
    write_pipeline(args.out / "pocket", vae, tokenizer, trained)
    (args.out / "prior.json").write_text(
        json.dumps({"steps": args.steps, "batch": args.batch, "lr": args.lr}, indent=2)
    )


def write_pipeline(folder: Path, vae: AutoencoderKL, tokenizer: CLIPTokenizer, prior: Any) -> None:
    """Save the whole as a Stable-Diffusion-layout directory, half precision, safetensors."""
    contiguous(prior)
    pipeline = StableDiffusionPipeline(
        vae=vae.half(),
        text_encoder=prior.text_encoder.half(),
        tokenizer=tokenizer,
        unet=prior.unet.half(),
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder, safe_serialization=True)
    open_everywhere(folder, tokenizer)


def open_everywhere(folder: Path, tokenizer: CLIPTokenizer) -> None:
    """Add to a saved pipeline what older transformers look for, so that it opens from 4.48 to 5.x.

    Version 5 drops the prefix ``text_model.`` of the text encoder's weights, and 4.48 starts from random ones. It
    also writes the tokenizer as one file where 4.48 wants vocabulary and merges.
    """
    weights = folder / "text_encoder" / "model.safetensors"
    tensors = load_file(weights)
    save_file({"text_model." + k.removeprefix("text_model."): v for k, v in tensors.items()}, weights, {"format": "pt"})
    source = Path(tokenizer.name_or_path)
    for name in ("vocab.json", "merges.txt", "special_tokens_map.json"):
        shutil.copyfile(source / name, folder / "tokenizer" / name)


if __name__ == "__main__":
    main()
