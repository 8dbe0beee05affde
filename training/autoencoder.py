"""Train the AutoencoderKL: 64x64 pictures to 16x16x4 latents of zero mean and unit variance per channel.

python -m training.autoencoder --data PATH --out training/out
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from training.data import check_manifest, load_pictures, read_captions
from training.loop import channels_last, contiguous, train

SIZE = 64
KL_WEIGHT = 1e-3  # per latent element, against the L1 error per pixel element


def build() -> AutoencoderKL:
    """Three levels of 32, 64, 96 channels: 4x downsampling, 1.8 M parameters."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(32, 64, 96),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=SIZE,
        scaling_factor=1.0,
    )


def augment(x: Tensor, generator: torch.Generator) -> Tensor:
    """Shift, mirror, mix colours and blend pairs, so that the encoder knows more than 1601 pictures.

    A rendering on its way to a mode is no emoji yet; its latent has to be sensible all the same.
    """
    b = x.shape[0]
    u = torch.rand(b, 4, generator=generator)
    shift = torch.randint(-6, 7, (b, 2), generator=generator).tolist()
    rows = []
    for i in range(b):
        row = x[i]
        if u[i, 0] < 0.5:
            row = torch.roll(row, shift[i], dims=(1, 2))
        if u[i, 1] < 0.5:
            row = row.flip(2)
        if u[i, 2] < 0.3:
            row = row[torch.randperm(3, generator=generator)]
        if u[i, 3] < 0.2:
            gain = torch.rand(3, 1, 1, generator=generator)
            row = row * gain + (2 * torch.rand(3, 1, 1, generator=generator) - 1) * (1 - gain)
        rows.append(row)
    out = torch.stack(rows)
    weight = torch.rand(b, 1, 1, 1, generator=generator)
    weight = torch.where(torch.rand(b, 1, 1, 1, generator=generator) < 0.1, weight, torch.ones(()))
    return weight * out + (1 - weight) * out.flip(0)


def edges(x: Tensor) -> tuple[Tensor, Tensor]:
    """Differences along rows and columns."""
    return x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]


def normalise_latents(vae: AutoencoderKL, x: Tensor) -> dict[str, list[float]]:
    """Fold the latents' mean and scale per channel into the 1x1 convolutions beside them, in place.

    Afterwards the latents of ``x`` have zero mean and unit variance in each channel and ``scaling_factor`` is 1, and
    decode(encode(x)) is what it was.
    """
    quant, post = vae.quant_conv, vae.post_quant_conv
    if not isinstance(quant, nn.Conv2d) or not isinstance(post, nn.Conv2d):
        raise TypeError("the autoencoder must have both 1x1 convolutions around its latents")
    if quant.bias is None or post.bias is None:
        raise TypeError("the 1x1 convolutions around the latents must have a bias")
    with torch.no_grad():
        means = torch.cat([vae.encode(part).latent_dist.mean for part in torch.split(x, 64)])
        mean, std = means.mean(dim=(0, 2, 3)), means.std(dim=(0, 2, 3))
        c = mean.numel()
        post.bias += (post.weight[:, :, 0, 0] * mean).sum(1)
        post.weight *= std[None, :, None, None]
        quant.weight[:c] /= std[:, None, None, None]
        quant.bias[:c] = (quant.bias[:c] - mean) / std
        quant.bias[c:] -= 2 * std.log()
    return {"mean": mean.tolist(), "std": std.tolist()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with captions.csv and png/")
    parser.add_argument("--out", type=Path, default=Path("training/out"))
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    check_manifest(args.data)
    x = load_pictures(args.data, read_captions(args.data), SIZE)
    torch.manual_seed(args.seed)
    vae = build()
    channels_last(vae)

    def loss(model: Any, step: int, generator: torch.Generator) -> Tensor:
        index = torch.randint(x.shape[0], (args.batch,), generator=generator)
        picture = augment(x[index], generator).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            posterior = model.encode(picture).latent_dist
            noise = torch.randn(posterior.mean.shape, generator=generator)
            decoded = model.decode(posterior.mean + posterior.std * noise).sample
        decoded = decoded.float()
        error = (decoded - picture).abs().mean() + 0.5 * (decoded - picture).square().mean()
        for a, b in zip(edges(decoded), edges(picture), strict=True):
            error = error + 0.5 * (a - b).abs().mean()
        kl = posterior.kl().float().mean() / noise[0].numel()
        total: Tensor = error + KL_WEIGHT * kl
        return total

    averaged: Any = train(
        vae, loss, folder=args.out / "autoencoder", steps=args.steps, peak_lr=args.lr, seed=args.seed, decay=0.998
    )
    contiguous(averaged)
    folded = normalise_latents(averaged, x)
    with torch.no_grad():
        decoded = torch.cat(
            [averaged.decode(averaged.encode(part).latent_dist.mean).sample for part in torch.split(x, 64)]
        )
    psnr = (10 * torch.log10(4 / (decoded.clamp(-1, 1) - x).square().mean(dim=(1, 2, 3)))).mean().item()
    averaged.save_pretrained(args.out / "vae")
    (args.out / "autoencoder.json").write_text(
        json.dumps({"psnr_db": psnr, "steps": args.steps, "latents": folded}, indent=2)
    )
    print(f"PSNR of the {x.shape[0]} pictures: {psnr:.2f} dB")


if __name__ == "__main__":
    main()
