"""Write the model cards: README.md of the pipeline and of the small CLIP, from the figures that training left behind.

python -m training.card --out training/out --pocket DIR --clip DIR
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
from pathlib import Path
from typing import Any

from safetensors import safe_open

DATA = """\
1601 pictures of [Noto Emoji](https://github.com/googlefonts/noto-emoji) by Google, commit
`b3e3051a088047d19fd4d49b1c3ac42fb8c3aaf8`, folder `png/128`, without flags and without skin-tone variants, composed on
white at 64x64. The README of Noto Emoji puts its tools and most image resources under the Apache License 2.0 and its
fonts under the SIL Open Font License 1.1; the file LICENSE at that commit is the latter. These weights are derived from
the pictures and carry this attribution. The captions (name, group, subgroup) come from Unicode's `emoji-test.txt`,
version 15, under the Unicode licence.
"""

POCKET = """\
---
license: apache-2.0
library_name: diffusers
pipeline_tag: text-to-image
language: en
tags:
- diffusion
- emoji
- score-distillation
---

# pocket: a text-to-image diffusion model that fits into a test suite

A latent diffusion model in the layout of Stable Diffusion, small enough to run on a CPU: 64x64 pictures of emoji.
It exists so that text-to-3D and text-to-image mode seeking can be run, tested and compared without a download of
gigabytes. It is no general image generator.

```python
import torch
from diffusers import StableDiffusionPipeline

pipe = StableDiffusionPipeline.from_pretrained("pocket", torch_dtype=torch.float32, safety_checker=None)
pipe("hamburger", num_inference_steps=32, guidance_scale=4.0).images[0].save("hamburger.png")
```

![Samples, not selected: one per name, seed = row of the picture in the data](contact_sheet.png)

## Parts

| part | class | parameters |
|---|---|---|
| `vae` | `AutoencoderKL`, 64x64x3 to 16x16x4, latents of mean 0 and variance 1 | {vae} |
| `unet` | `UNet2DConditionModel`, velocity prediction, 16x16x4 | {unet} |
| `text_encoder` | `CLIPTextModel`, trained together with the denoiser | {text_encoder} |
| `tokenizer` | `CLIPTokenizer`, byte pairs of the captions | - |
| `scheduler` | `DDIMScheduler`, Stable Diffusion's noise levels, 1000 steps | - |

Weights are float16 in safetensors files. All parts were trained from scratch.

## Data

{data}
## Training

- autoencoder: {autoencoder_steps} steps; the 1601 pictures come back with a PSNR of {psnr:.1f} dB
- denoiser and text encoder: {prior_steps} steps of {prior_batch} latents, Muon (AdamW for vectors, embeddings,
  first and last layers), learning rate {prior_lr:g}, weights averaged{prior_note}
- captions in training: the name (78 %), the subgroup (8 %), the group (4 %), nothing (10 %, for guidance)

## Evaluation

{names} names drawn from the 1601 with seed {seed_of_names}; one sample each by DDIM, {steps} steps, guidance scale
{guidance_scale:g}, seed = row of the picture. The judge is the small CLIP that was trained beside it: nearest picture
among all 1601 by cosine of the image features.

| figure | value |
|---|---|
| nearest picture is the one asked for | **{top1:.1%}** (goal: at least {goal:.0%}; {verdict}) |
| the same, names that differ only in man/woman/person (or boy/girl) counted as one | {near_duplicate_top1:.1%} |
| nearest picture by squared pixel error is the one asked for (without the judge) | {pixel_top1:.1%} |
| its name ranks first among 1601 by image-text similarity | {text_top1:.1%} |
| median rank of its name | {median_text_rank:g} |

The pictures measured are those it was trained on: this is how well it recalls, not how well it generalises.

Wrong ({wrong_count}; asked for -> nearest): {wrong}

Right ({right_count}): {right}

## Limits

- 64x64 pixels, single objects, centred, on white; one graphic style.
- It saw the same 1601 pictures hundreds of times and memorises them: expect copies of these, no new designs.
- Prompts are emoji names. Other words, and several objects in one prompt, are outside of what it was trained on.
- Faces, gestures, clocks and persons that differ in a detail only are the easiest to mistake for each other.
- The pictures carry the stereotypes of the emoji set.
"""

CLIP = """\
---
license: apache-2.0
library_name: transformers
pipeline_tag: zero-shot-image-classification
language: en
tags:
- clip
- emoji
---

# clip: a small judge of emoji pictures

A `CLIPModel` of {parameters} parameters (4 vision layers of width 256 on 16x16 patches of 64x64 pictures, 2 text
layers of width 128, 128 features), trained from scratch on 1601 captioned emoji. It says which emoji name belongs to a
picture, and by `image_embeds` which emoji a generated picture comes from.

```python
from transformers import CLIPModel, CLIPProcessor

model, processor = CLIPModel.from_pretrained("clip").float(), CLIPProcessor.from_pretrained("clip")
inputs = processor(text=["red heart", "blue heart"], images=image, padding=True, return_tensors="pt")
model(**inputs).logits_per_image.softmax(-1)
```

Pictures are expected as RGB on white, 64x64, values scaled to [-1, 1]; weights are float16 in safetensors files.

## Data

{data}
## Training

{steps} steps of {batch} pictures, AdamW, learning rate {lr:g}, seed {seed}, weights averaged. Symmetric InfoNCE between
pictures and captions (the name; 7 % the subgroup, 3 % the group) and between two alterations of each picture: shifted,
scaled, turned by a few degrees, wobbled, blurred, tinted, noisy, never mirrored.

## Evaluation

Top-1 among the 1601 pictures or names of the training data.

| query | gallery | top-1 |
|---|---|---|
| picture | names | {image_to_text_top1:.1%} |
| name | pictures | {text_to_image_top1:.1%} |
| altered picture | pictures | {augmented_image_to_image_top1:.1%} |
| altered picture | names | {augmented_image_to_text_top1:.1%} |

## Limits

It knows these 1601 pictures and their names and nothing else: words that are not in a name mean nothing to it, and its
similarities are not comparable with those of a general CLIP. Two pictures are the same ("family" and
"family: man, man, boy"), and several differ in a detail only.
"""


def count_parameters(folder: Path) -> int:
    """Elements of all tensors in the safetensors files of ``folder``.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise FileNotFoundError(f"there must be a safetensors file in {folder}")
    total = 0
    for file in files:
        with safe_open(file, framework="pt") as tensors:
            total += sum(math.prod(tensors.get_slice(key).get_shape()) for key in tensors.keys())  # noqa: SIM118
    return total


def millions(count: int) -> str:
    """2088257 as "2.1 M"."""
    return f"{count / 1e6:.1f} M"


def read(out: Path, name: str) -> dict[str, Any]:
    """The figures that the module ``name`` left in ``out``."""
    figures: dict[str, Any] = json.loads((out / f"{name}.json").read_text(encoding="utf-8"))
    return figures


def pocket_card(out: Path, pocket: Path) -> str:
    """Text of the pipeline's README.md."""
    autoencoder, prior, evaluation = (read(out, name) for name in ("autoencoder", "prior", "evaluation"))
    results = evaluation.pop("results")
    right = [r["name"] for r in results if r["right"]]
    wrong = [f"{r['name']} -> {r['nearest']}" for r in results if not r["right"]]
    return POCKET.format(
        **{part: millions(count_parameters(pocket / part)) for part in ("vae", "unet", "text_encoder")},
        **{key: value for key, value in evaluation.items() if key != "wrong"},
        data=DATA,
        autoencoder_steps=autoencoder["steps"],
        psnr=autoencoder["psnr_db"],
        prior_steps=prior["steps"],
        prior_batch=prior["batch"],
        prior_lr=prior["lr"],
        prior_note=prior.get("note", ""),
        verdict="met" if evaluation["top1"] >= evaluation["goal"] else "MISSED",
        wrong_count=len(wrong),
        wrong="; ".join(wrong) or "none",
        right_count=len(right),
        right="; ".join(right) or "none",
    )


def clip_card(out: Path, clip: Path) -> str:
    """Text of the small CLIP's README.md."""
    return CLIP.format(**read(out, "clip"), data=DATA, parameters=millions(count_parameters(clip)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("training/out"), help="folder with the figures")
    parser.add_argument("--pocket", type=Path, required=True, help="the pipeline's folder")
    parser.add_argument("--clip", type=Path, required=True, help="the small CLIP's folder")
    args = parser.parse_args()
    (args.pocket / "README.md").write_text(pocket_card(args.out, args.pocket), encoding="utf-8")
    (args.clip / "README.md").write_text(clip_card(args.out, args.clip), encoding="utf-8")
    shutil.copyfile(args.out / "contact_sheet.png", args.pocket / "contact_sheet.png")


if __name__ == "__main__":
    main()
