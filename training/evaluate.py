"""Measure the shipped pipeline: does a sample for a name come closest to the picture of that name?

    python -m training.evaluate --data PATH --pocket DIR --clip DIR --out training/out

Samples are drawn through diffusers' own StableDiffusionPipeline: DDIM, 32 steps, guidance scale 4 (diffusers'
convention), seed = index of the name. The judge is the small CLIP, among all pictures.
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from transformers import CLIPModel, CLIPTokenizer

from training.autoencoder import SIZE
from training.clip import embed_pictures, embed_texts, in_parts
from training.data import check_manifest, load_pictures, read_captions
from training.pocket import tokenise

STEPS, GUIDANCE, BATCH = 32, 4.0, 20
GOAL = 0.70  # of top-1
COLUMNS, CELL = 8, 96
ADULT = re.compile(r"\b(?:woman and man|man|woman|person|men|women|people)\b(?!’)")
CHILD = re.compile(r"\b(?:boy|girl)\b(?!’)")
POPULAR = tuple(
    """hamburger;pizza;french fries;doughnut;birthday cake;red apple;banana;strawberry;
    watermelon;avocado;dog face;cat face;tiger face;panda;frog;penguin;
    butterfly;octopus;turtle;unicorn;evergreen tree;palm tree;cactus;sunflower;
    rose;mushroom;red heart;blue heart;fire;star;rainbow;full moon;
    snowman;rocket;airplane;sailboat;automobile;bicycle;house;castle;
    guitar;soccer ball;grinning face;skull;robot;ghost;gem stone;light bulb""".replace("\n    ", "").split(";")
)


@dataclass(frozen=True)
class Result:
    """One sample.

    Attributes:
        index: row of captions.csv, and the seed.
        name: what was asked for.
        nearest: name of the training picture whose features are nearest in cosine.
        right: whether that is ``name``.
        near_duplicate: whether it is ``name`` up to gender words.
        nearest_in_pixels: name of the training picture of least squared error, a check on the judge.
        text_rank: rank of ``name`` among all names by similarity with the sample, from 1.
    """

    index: int
    name: str
    nearest: str
    right: bool
    near_duplicate: bool
    nearest_in_pixels: str
    text_rank: int


def without_gender(name: str) -> str:
    """The name without man, woman, person and their plurals; boy and girl become child.

    "woman running" and "person running" agree, "man’s shoe" and "woman’s boot" stay what they are.
    """
    return " ".join(CHILD.sub("child", ADULT.sub("", name)).split())


def draw_names(n: int, count: int, seed: int) -> list[int]:
    """``count`` different indices below ``n``."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))[:count].tolist()


def sample(pipe: StableDiffusionPipeline, prompts: list[str], seeds: list[int]) -> Tensor:
    """One picture for each prompt, (len(prompts), 3, SIZE, SIZE) in [-1, 1]; each by its own prompt and seed."""
    parts = []
    for k in range(0, len(prompts), BATCH):
        images = pipe(
            prompts[k : k + BATCH],
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            generator=[torch.Generator().manual_seed(s) for s in seeds[k : k + BATCH]],
            output_type="np",
        ).images
        parts.append(2 * torch.from_numpy(images).permute(0, 3, 1, 2) - 1)
        print(f"sampled {min(k + BATCH, len(prompts))}/{len(prompts)}", flush=True)
    return torch.cat(parts).contiguous()


@torch.no_grad()
def judge(
    clip: CLIPModel, tokens: Tensor, x: Tensor, names: list[str], samples: Tensor, index: list[int]
) -> list[Result]:
    """Compare samples (M, 3, SIZE, SIZE), meant as pictures ``index``, with all pictures and names.

    Args:
        clip: the judge.
        tokens: token ids of all names, (N, L).
        x: all pictures, (N, 3, SIZE, SIZE) in [-1, 1].
        names: all names, N.
        samples: in [-1, 1].
        index: of the picture that each sample should be, M.
    """
    gallery, query = (in_parts(lambda part: embed_pictures(clip, part), pictures) for pictures in (x, samples))
    texts = in_parts(lambda part: embed_texts(clip, part), tokens)
    nearest = (query @ gallery.T).argmax(1).tolist()
    in_pixels = torch.cdist(samples.flatten(1), x.flatten(1)).argmin(1).tolist()
    similarity = query @ texts.T
    truth = similarity.gather(1, torch.tensor(index)[:, None])
    ranks = (1 + (similarity > truth).sum(1)).tolist()
    return [
        Result(
            index=i,
            name=names[i],
            nearest=names[j],
            right=i == j,
            near_duplicate=without_gender(names[i]) == without_gender(names[j]),
            nearest_in_pixels=names[p],
            text_rank=rank,
        )
        for i, j, p, rank in zip(index, nearest, in_pixels, ranks, strict=True)
    ]


def summarise(results: list[Result]) -> dict[str, float]:
    """Rates over the results; top1 is the strict one, against which the goal stands."""
    count = len(results)
    return {
        "names": count,
        "top1": sum(r.right for r in results) / count,
        "goal": GOAL,
        "near_duplicate_top1": sum(r.near_duplicate for r in results) / count,
        "pixel_top1": sum(r.nearest_in_pixels == r.name for r in results) / count,
        "median_text_rank": median(r.text_rank for r in results),
        "text_top1": sum(r.text_rank == 1 for r in results) / count,
    }


def contact_sheet(samples: Tensor, names: tuple[str, ...], path: Path) -> None:
    """Write samples (M, 3, SIZE, SIZE) with their names below, COLUMNS in a row, as a small PNG."""
    font, line = ImageFont.load_default(), 14
    rows = -(-len(names) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * CELL, rows * (CELL + line)), "white")
    draw = ImageDraw.Draw(sheet)
    pixels = ((samples.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    for k, name in enumerate(names):
        left, top = k % COLUMNS * CELL, k // COLUMNS * (CELL + line)
        sheet.paste(Image.fromarray(pixels[k]).resize((CELL, CELL), Image.Resampling.NEAREST), (left, top))
        width = draw.textlength(name, font=font)
        draw.text((left + (CELL - width) / 2, top + CELL), name, fill="black", font=font)
    sheet.quantize(256).save(path, optimize=True)


def open_clip(folder: Path) -> tuple[CLIPModel, CLIPTokenizer]:
    """Model in float32, and its tokenizer."""
    return CLIPModel.from_pretrained(folder).float().eval(), CLIPTokenizer.from_pretrained(folder)


def open_pipeline(folder: Path) -> StableDiffusionPipeline:
    """The pipeline in float32, quiet."""
    pipe = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with captions.csv and png/")
    parser.add_argument("--pocket", type=Path, required=True, help="the pipeline's folder")
    parser.add_argument("--clip", type=Path, required=True, help="the judge's folder")
    parser.add_argument("--out", type=Path, default=Path("training/out"))
    parser.add_argument("--names", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the choice of names")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    check_manifest(args.data)
    pictures = read_captions(args.data)
    names = [p.name for p in pictures]
    x = load_pictures(args.data, pictures, SIZE)
    clip, tokenizer = open_clip(args.clip)
    pipe = open_pipeline(args.pocket)
    args.out.mkdir(parents=True, exist_ok=True)

    index = draw_names(len(names), args.names, args.seed)
    samples = sample(pipe, [names[i] for i in index], index)
    results = judge(clip, tokenise(tokenizer, names), x, names, samples, index)
    figures = summarise(results)
    wrong = [f"{r.name} -> {r.nearest}" for r in results if not r.right]
    how = {"steps": STEPS, "guidance_scale": GUIDANCE, "seed_of_names": args.seed, "seed_of_sample": "index"}
    report = {**figures, **how, "wrong": wrong, "results": [asdict(r) for r in results]}
    (args.out / "evaluation.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    shown = sample(pipe, list(POPULAR), [names.index(name) for name in POPULAR])
    contact_sheet(shown, POPULAR, args.out / "contact_sheet.png")
    print("\n".join(["wrong:", *wrong]))
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
