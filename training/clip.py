"""Train the small CLIP: which name belongs to a picture, and which picture a generated one comes from.

    python -m training.clip --data PATH --out training/out

The folder that it writes, ``OUT/clip``, is an ordinary CLIPModel directory in half precision.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig

from training.autoencoder import SIZE
from training.data import Picture, check_manifest, load_pictures, read_captions
from training.loop import train
from training.pocket import tokenise
from training.tokenizer import MAX_TOKENS, train_tokenizer

GROUP, SUBGROUP = 0.03, 0.07  # how often a training caption is the group, the subgroup; else the name
RUN = 16  # neighbours in Unicode's order look alike, so a batch is made of runs of them: hard negatives
PROCESSOR = {
    "image_processor_type": "CLIPImageProcessor",
    "do_convert_rgb": True,
    "do_resize": True,
    "size": {"height": SIZE, "width": SIZE},
    "resample": 3,  # bicubic
    "do_center_crop": False,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}


def build(tokenizer: CLIPTokenizer) -> CLIPModel:
    """Four vision layers of width 256 on 16x16 patches, two text layers of width 128: 3.6 M parameters."""
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=MAX_TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    vision = CLIPVisionConfig(
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=SIZE,
        patch_size=16,
    )
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=128)
    return CLIPModel(config)


def smooth_noise(b: int, channels: int, cells: int, generator: torch.Generator) -> Tensor:
    """Normal noise on a coarse grid, interpolated: (b, channels, SIZE, SIZE)."""
    coarse = torch.randn(b, channels, cells, cells, generator=generator)
    return F.interpolate(coarse, size=(SIZE, SIZE), mode="bicubic", align_corners=False)


def warp(x: Tensor, amount: Tensor, generator: torch.Generator) -> Tensor:
    """Shift by up to 5 px, scale by up to 15 %, turn by up to 6 degrees, wobble by about 1 px; white comes in."""
    b = x.shape[0]
    u = amount * (2 * torch.rand(b, 4, generator=generator) - 1)
    scale, angle = torch.exp(0.15 * u[:, 0]), 0.1 * u[:, 1]
    cos, sin = scale * angle.cos(), scale * angle.sin()
    shift = u[:, 2:] * (10 / SIZE)
    matrix = torch.stack([cos, -sin, shift[:, 0], sin, cos, shift[:, 1]], dim=1).view(b, 2, 3)
    grid = F.affine_grid(matrix, [b, 3, SIZE, SIZE], align_corners=False)
    wobble = amount[:, :, None, None] * (2 / SIZE) * smooth_noise(b, 2, 5, generator)
    return 1 + F.grid_sample(x - 1, grid + wobble.permute(0, 2, 3, 1), align_corners=False)


def colour(x: Tensor, amount: Tensor, generator: torch.Generator) -> Tensor:
    """Mild changes of contrast, brightness and tint, and soft stains: a red heart stays red."""
    b = x.shape[0]
    u = amount[:, :, None, None] * (2 * torch.rand(b, 8, 1, 1, generator=generator) - 1)
    gain = 1 + 0.2 * u[:, :1] + 0.1 * u[:, 1:4]
    bias = 0.15 * u[:, 4:5] + 0.08 * u[:, 5:8]
    return gain * x + bias + 0.08 * amount[:, :, None, None] * smooth_noise(b, 3, 8, generator)


def soften(x: Tensor, generator: torch.Generator) -> Tensor:
    """Bring half of the pictures to a resolution between 16 and 48 px and back."""
    b = x.shape[0]
    small = int(torch.randint(16, 49, (), generator=generator))
    coarse = F.interpolate(x, size=(small, small), mode="bilinear", antialias=True, align_corners=False)
    blurred = F.interpolate(coarse, size=(SIZE, SIZE), mode="bicubic", align_corners=False)
    chosen = torch.rand(b, 1, 1, 1, generator=generator) < 0.5
    return torch.where(chosen, blurred, x)


def augment(x: Tensor, generator: torch.Generator) -> Tensor:
    """Imitate a generated picture: displaced, blurred, tinted, noisy; never mirrored. (B, 3, SIZE, SIZE) in [-1, 1]."""
    b = x.shape[0]
    amount = torch.rand(b, 1, generator=generator)
    out = colour(soften(warp(x, amount, generator), generator), amount, generator)
    level = 0.3 * torch.rand(b, 1, 1, 1, generator=generator) * amount[:, :, None, None]
    return (out + level * torch.randn(out.shape, generator=generator)).clamp(-1, 1)


def embed_pictures(model: CLIPModel, x: Tensor) -> Tensor:
    """Features of unit length, (B, 128), of pictures (B, 3, SIZE, SIZE) in [-1, 1]."""
    return F.normalize(model.visual_projection(model.vision_model(pixel_values=x).pooler_output).float(), dim=-1)


def embed_texts(model: CLIPModel, tokens: Tensor) -> Tensor:
    """Features of unit length, (B, 128), of token ids (B, L)."""
    return F.normalize(model.text_projection(model.text_model(input_ids=tokens).pooler_output).float(), dim=-1)


def in_parts(embed: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """``embed(x)``, 128 rows at a time."""
    return torch.cat([embed(x[k : k + 128]) for k in range(0, x.shape[0], 128)])


def contrast(logits: Tensor, match: Tensor) -> Tensor:
    """Symmetric InfoNCE of logits (B, B); a row or column with several matches shares its target among them."""
    target = match.float()
    rows = -(F.log_softmax(logits, 1) * target / target.sum(1, keepdim=True)).sum(1).mean()
    columns = -(F.log_softmax(logits, 0) * target / target.sum(0, keepdim=True)).sum(0).mean()
    return (rows + columns) / 2


def draw_runs(n: int, batch: int, generator: torch.Generator) -> Tensor:
    """Indices of ``batch`` different pictures, in runs of RUN neighbours."""
    offset = int(torch.randint(n, (), generator=generator))
    begins = torch.randperm(n // RUN, generator=generator)[: batch // RUN] * RUN
    return ((begins[:, None] + torch.arange(RUN)).flatten() + offset) % n


def caption_table(pictures: list[Picture]) -> tuple[list[str], Tensor]:
    """All different captions, and for each picture the rows of its name, group and subgroup: (N, 3)."""
    rows = {text: i for i, text in enumerate(dict.fromkeys(c for p in pictures for c in p.captions()))}
    return list(rows), torch.tensor([[rows[c] for c in p.captions()] for p in pictures])


def open_tokenizer(folder: Path, texts: list[str]) -> CLIPTokenizer:
    """The tokenizer in ``folder``, trained if there is none.

    A resumed run must find the one it began with, whatever the version of the library.
    """
    if (folder / "vocab.json").is_file():
        opened: CLIPTokenizer = CLIPTokenizer.from_pretrained(folder)
        return opened
    return train_tokenizer(texts, folder)


@torch.no_grad()
def measure(model: CLIPModel, x: Tensor, names: Tensor, seed: int) -> dict[str, float]:
    """Top-1 rates among all pictures x (N, 3, SIZE, SIZE) and the token ids (N, L) of their names."""
    truth = torch.arange(x.shape[0])
    generator = torch.Generator().manual_seed(seed)
    pictures = in_parts(lambda part: embed_pictures(model, part), x)
    changed = in_parts(lambda part: embed_pictures(model, augment(part, generator)), x)
    texts = in_parts(lambda part: embed_texts(model, part), names)

    def top1(query: Tensor, gallery: Tensor) -> float:
        return (query @ gallery.T).argmax(1).eq(truth).float().mean().item()

    return {
        "image_to_text_top1": top1(pictures, texts),
        "text_to_image_top1": top1(texts, pictures),
        "augmented_image_to_image_top1": top1(changed, pictures),
        "augmented_image_to_text_top1": top1(changed, texts),
    }


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with captions.csv and png/")
    parser.add_argument("--out", type=Path, default=Path("training/out"))
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument(
        "--seconds", type=float, default=math.inf, help="stop after this many seconds, with a checkpoint"
    )
    parser.add_argument("--batch", type=int, default=128, help=f"pictures per step, a multiple of {RUN}")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    check_manifest(args.data)
    pictures = read_captions(args.data)
    x = load_pictures(args.data, pictures, SIZE)
    texts, rows = caption_table(pictures)
    tokenizer = open_tokenizer(args.out / "clip", texts)
    tokens = tokenise(tokenizer, texts)
    torch.manual_seed(args.seed)

    def loss(model: nn.Module, step: int, generator: torch.Generator) -> Tensor:
        index = draw_runs(len(pictures), args.batch, generator)
        u = torch.rand(args.batch, generator=generator)
        kind = (u < GROUP + SUBGROUP).long() + (u < SUBGROUP).long()
        caption = rows[index, kind]
        views = torch.cat([augment(x[index], generator), augment(x[index], generator)])
        with torch.autocast("cpu", torch.bfloat16):
            clip = cast(CLIPModel, model)
            image, text = embed_pictures(clip, views), embed_texts(clip, tokens[caption])
        scale = clip.logit_scale.exp().clamp(max=100.0)
        first, second = image.chunk(2)
        holds = (rows[index][:, None, :] == caption[None, :, None]).any(-1)
        same = torch.eye(args.batch, dtype=torch.bool)
        named = contrast(scale * first @ text.T, holds) + contrast(scale * second @ text.T, holds)
        return named / 2 + contrast(scale * first @ second.T, same)

    trained = train(
        build(tokenizer),
        loss,
        folder=args.out / "clip-training",
        steps=args.steps,
        peak_lr=args.lr,
        seed=args.seed,
        seconds=args.seconds,
        decay=0.995,
        weight_decay=0.05,
    )
    model = cast(CLIPModel, trained)
    model.half().save_pretrained(args.out / "clip", safe_serialization=True)
    (args.out / "clip" / "preprocessor_config.json").write_text(json.dumps(PROCESSOR, indent=2) + "\n")
    (args.out / "clip" / "names.txt").write_text("\n".join(p.name for p in pictures) + "\n", encoding="utf-8")
    # measured as shipped: half precision on disk, float32 in use
    figures = measure(model.float(), x, tokens[rows[:, 0]], args.seed)
    run = {"steps": args.steps, "batch": args.batch, "lr": args.lr, "seed": args.seed}
    (args.out / "clip.json").write_text(json.dumps({**figures, **run}, indent=2))
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
