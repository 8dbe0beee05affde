"""What each option of ``Economy`` saves, as ratios of peaks; each peak in a process of its own (Linux alone tells it).

``python -m benchmarks.memory PART SIDE PICTURES [OPTION ...]`` measures one. PART: encode (with its backward pass),
decode, evaluate (the network under guidance), train (a step of a LoRA). SIDE: in pixels. OPTION: ``vae_slicing``,
``network_batch=2``, ...; ``shipped`` for the shipped model instead of one of Stable Diffusion 1's widths with random
weights. It prints the peak in MiB beyond what the process held before, and seconds.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from types import SimpleNamespace
from typing import Any

import torch

from benchmarks.speed import Row
from modeseek.compare.memory import CLEAR, STATUS, Peak
from modeseek.guidance import CFG
from modeseek.priors import Economy, LatentPrior, economise, open_prior
from modeseek.priors.lora import LoRA
from modeseek.priors.stable_diffusion import StableDiffusion

# glibc gives blocks above this size back at once: the peak is what is in use, not what was kept for later
ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "65536"}
TEXT = (77, 768)


def random_prior(part: str, tile: int) -> LatentPrior:
    """Stable Diffusion 1's autoencoder or UNet, whichever the part needs, beside a small one of the other."""
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

    coder = part in ("encode", "decode")
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512) if coder else (32,) * 4,
        layers_per_block=2,
        sample_size=tile,
    )
    widths = (32,) * 4 if coder else (320, 640, 1280, 1280)
    unet = UNet2DConditionModel(
        sample_size=64, block_out_channels=widths, cross_attention_dim=TEXT[1], attention_head_dim=8
    )
    text = SimpleNamespace(config=SimpleNamespace(hidden_size=TEXT[1]))  # prompts are not encoded here
    parts = {"unet": unet, "vae": vae, "scheduler": DDIMScheduler(), "text_encoder": text, "tokenizer": None}
    for module in (unet, vae):
        module.requires_grad_(False).eval()
    return StableDiffusion.from_parts("random", parts, {})


def work(prior: LatentPrior, part: str, side: int, pictures: int) -> None:
    """One call of a part."""
    latent = torch.randn(pictures, 4, side // prior.factor, side // prior.factor)
    width = prior.denoiser.network.config.cross_attention_dim
    cond = torch.randn(pictures, TEXT[0], width)
    if part == "encode":
        latent = prior.encode(torch.rand(pictures, 3, side, side, requires_grad=True))
        torch.autograd.backward(latent, torch.ones_like(latent))
    elif part == "decode":
        prior.decode(latent)
    elif part == "evaluate":
        with torch.no_grad():
            CFG(prior.denoiser, 7.5, cond[:1])(latent, 1.0, cond)
    else:
        x0 = LoRA(prior.denoiser)(latent, 1.0, cond)
        torch.autograd.backward(x0, torch.ones_like(x0))


def resident() -> float:
    """Memory of this process now, in MiB."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmRSS:"))
    return float(line.split()[1]) / 2**10


def measure(part: str, side: int, pictures: int, options: Sequence[str]) -> tuple[float, float]:
    """MiB at the peak of one call beyond what was held before it, and its seconds; after a small one to warm up."""
    chosen: dict[str, Any] = {}
    for option in options:
        name, _, number = option.partition("=")
        chosen[name] = int(number) if number else True
    shipped, tile = chosen.pop("shipped", False), chosen.pop("tile", 512)
    prior = open_prior() if shipped else random_prior(part, tile)
    assert isinstance(prior, LatentPrior)
    economise(prior, Economy(**chosen))
    work(prior, part, 64, 1)
    before, peak, began = resident(), Peak(torch.device("cpu")), time.perf_counter()
    work(prior, part, side, pictures)
    return peak.mib() - before, time.perf_counter() - began


@cache
def peak(part: str, side: int, pictures: int, options: str) -> float:
    """MiB, measured in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.memory", part, str(side), str(pictures), *options.split()]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | ENVIRONMENT)
    return float(done.stdout.split()[0])


def ratio(what: str, at_most: float, part: str, side: int, pictures: int, plain: str, options: str) -> Row:
    """Peak with options over peak without."""
    measured = peak(part, side, pictures, f"{plain} {options}") / peak(part, side, pictures, plain)
    return Row(f"peak memory, {what}", f"{measured:.2f}", f"at most {at_most}", measured <= at_most)


# side and number of pictures: large enough to stand out, small enough for the two minutes that all may take
ENCODE = ("encode", 192, 2, "")
DECODE = ("decode", 192, 2, "tile=96")
EVALUATE = ("evaluate", 128, 32, "shipped")
OF = "Stable Diffusion's autoencoder, two pictures"
MEASURES: tuple[Callable[[], Row], ...] = (
    partial(
        ratio, f"`--encoder-checkpointing` / without, encode and backward, {OF}", 0.8, *ENCODE, "encoder_checkpointing"
    ),
    partial(ratio, f"the same and `--vae-slicing` / without, {OF}", 0.5, *ENCODE, "encoder_checkpointing vae_slicing"),
    partial(ratio, f"`--vae-slicing` / without, decode, {OF}", 0.75, *DECODE, "vae_slicing"),
    partial(ratio, f"`--vae-tiling` / without, decode, tiles of half the side, {OF}", 0.5, *DECODE, "vae_tiling"),
    partial(
        ratio, "`--network-batch 4` / without, 32 guided pictures, the shipped model", 0.3, *EVALUATE, "network_batch=4"
    ),
)
MEASURES = MEASURES if CLEAR.exists() else ()


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    name, pixels, number, *told = sys.argv[1:]
    mib, seconds = measure(name, int(pixels), int(number), told)
    print(f"{mib:.0f} MiB {seconds:.1f} s")
