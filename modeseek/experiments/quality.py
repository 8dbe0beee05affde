"""Does MSD do its job? Distance of final pictures to DDIM samples of the same prompts, MSD against SDS at the same nfe.

    python -m modeseek.experiments.quality --out DIR

20 prompts, 8 seeds: 160 pictures a method from the same networks and seeds, against 160 DDIM samples. Features are the
shipped small CLIP's, reduced by a PCA fitted on the DDIM set. Rows that exist in DIR are kept, so a killed run goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from modeseek.config import ImageConfig, Settings, resolve, to_yaml
from modeseek.distillation import distill
from modeseek.generators import Encoded
from modeseek.metrics import PCA, ImageText, frechet_distance, kernel_distance
from modeseek.pictures import png, sheet
from modeseek.priors import LatentPrior
from modeseek.randomness import Streams
from modeseek.runs import write_atomic
from modeseek.shipped import POCKET_CLIP
from modeseek.text2image import build_estimator, build_generator, build_prior

# chosen before any result was seen: single things that a person names at a glance
PROMPTS = (
    "hamburger",
    "pizza",
    "red apple",
    "strawberry",
    "birthday cake",
    "dog face",
    "cat face",
    "panda",
    "octopus",
    "butterfly",
    "sunflower",
    "evergreen tree",
    "rocket",
    "automobile",
    "sailboat",
    "house",
    "soccer ball",
    "guitar",
    "red heart",
    "light bulb",
)
SEEDS = 8
DIMENSIONS = 64
REFERENCE_SEED, FLOOR_SEED = 1000, 2000  # of the DDIM sets, away from the runs' seeds


@dataclass(frozen=True)
class Row:
    """A method and what is expected of it."""

    name: str
    expected: str


ROWS = (
    Row("DDIM, other seeds", "the floor"),
    Row("MSD", "nearer than SDS"),
    Row("SDS", "-"),
)


def ddim_set(prior: LatentPrior, seed: int, guidance: float) -> Tensor:
    """DDIM-32 samples, (SEEDS * 20, 3, H, W), seeds outermost."""
    images = []
    for k in range(SEEDS):
        rng = Streams(seed + k, range(len(PROMPTS)))
        images.append(prior.decode(prior.sample(prior.encode_prompt(PROMPTS), rng, guidance_scale=guidance)))
    return torch.cat(images)


def distilled(prior: LatentPrior, config: ImageConfig) -> Tensor:
    """Final pictures of one seed, (20, 3, H, W)."""
    settings = Settings.of(config)
    picture = build_generator(config, prior)
    distill(
        Encoded(picture, prior.encode),
        build_estimator(config, prior),
        prior.encode_prompt(config.prompts),
        steps=settings.steps,
        rng=Streams.for_batch(config.seed, len(config.prompts)),
        lr=settings.lr,
        refresh_every=settings.refresh_every,
    )
    with torch.no_grad():
        images: Tensor = picture()
    return images


def mark(prior: LatentPrior, config: ImageConfig) -> str:
    """Tells the pictures of one model and configuration from those of another."""
    return hashlib.sha256((prior.fingerprint + to_yaml(resolve(config))).encode()).hexdigest()[:12]


def planned_nfe(prior: LatentPrior, config: ImageConfig) -> int:
    """Evaluations per picture of a configuration."""
    settings, estimator = Settings.of(config), build_estimator(config, prior)
    return sum(estimator.nfe(step) for step in range(0, settings.steps, settings.refresh_every))


def measure(
    images: Tensor, reference: Tensor, clip: ImageText, names: list[str], resamples: int = 200
) -> dict[str, object]:
    """Distances to the reference with 95 % bootstrap intervals, similarity to the prompts, rank of the right name."""
    features, target = clip.images(images), clip.images(reference)
    pca = PCA.fit(target, DIMENSIONS)
    a, b = pca(features), pca(target)
    prompts = list(PROMPTS) * (len(images) // len(PROMPTS))
    draws = _draws(len(a), resamples)
    # the sample is resampled, the reference kept: the interval is that of the method's pictures
    fd, kd = ([f(a[i], b) for i in draws] for f in (frechet_distance, _distinct_kernel_distance))
    return {
        "frechet": frechet_distance(a, b),
        "frechet_95": _interval(fd),
        "kernel": kernel_distance(a, b),
        "kernel_95": _interval(kd),
        "similarity": float(clip.similarity(images, prompts).mean()),
        "median_rank": float(clip.rank(images, names, prompts).median()),
        "pictures": len(images),
        "dimensions": a.shape[1],
    }


def difference(first: Tensor, second: Tensor, reference: Tensor, clip: ImageText, resamples: int = 200) -> list[float]:
    """95 % bootstrap interval of how much farther in Fréchet distance ``first`` is from the reference than ``second``.

    Both sets hold the same prompts and seeds in the same order and are resampled together, so that the bias of a
    bootstrap, which draws some pictures twice, is the same on both sides.
    """
    target = clip.images(reference)
    pca = PCA.fit(target, DIMENSIONS)
    a, b, c = (pca(x) for x in (clip.images(first), clip.images(second), target))
    return _interval([frechet_distance(a[i], c) - frechet_distance(b[i], c) for i in _draws(len(a), resamples)])


def _draws(n: int, resamples: int) -> list[Tensor]:
    """Indices of bootstrap resamples of n rows, the same at every call."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(n, (n,), generator=generator) for _ in range(resamples)]


def _distinct_kernel_distance(a: Tensor, b: Tensor) -> float:
    """Kernel distance of a bootstrap draw: doubled rows would count as pairs at distance 0, so each row counts once."""
    return kernel_distance(torch.unique(a, dim=0), b)


def _interval(values: list[float]) -> list[float]:
    return (
        torch.tensor(values, dtype=torch.float64).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    )


def _stored(path: Path, make: Callable[[], Tensor]) -> Tensor:
    """A picture set in 8 bits: made once, kept as safetensors."""
    from safetensors.torch import load_file, save

    if not path.is_file():
        began = time.perf_counter()
        images = (make().clamp(0, 1) * 255).round().to(torch.uint8)
        write_atomic(path, save({"images": images.contiguous()}))
        print(f"{path.name}: {len(images)} pictures in {time.perf_counter() - began:.0f} s", flush=True)
    return load_file(path)["images"].float() / 255


def main() -> None:
    """Make the sets, measure, write results.json, results.md and comparison.png."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("modeseek-runs/quality"))
    parser.add_argument("--only", choices=("msd", "sds", "ddim"), help="make this set only, for several processes")
    parser.add_argument("--seeds", type=int, nargs=2, default=(0, SEEDS), help="first and past-last seed to make")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    msd = ImageConfig(PROMPTS)
    prior, guidance = build_prior(msd), Settings.of(msd).guidance
    nfe = planned_nfe(prior, msd)
    # a guided SDS step costs two evaluations
    sds = ImageConfig(PROMPTS, method="sds", refresh_every=1, steps=nfe // 2)

    sets: dict[str, list[Tensor]] = {"MSD": [], "SDS": []}
    for name, config in (("MSD", msd), ("SDS", sds)):
        if args.only in (None, name.lower()):
            for seed in range(*args.seeds):
                one = dataclasses.replace(config, seed=seed)
                path = args.out / f"{name.lower()}-{mark(prior, one)}.safetensors"
                sets[name].append(_stored(path, partial(distilled, prior, one)))
    if args.only in ("msd", "sds"):
        return
    reference = _stored(
        args.out / f"ddim-{mark(prior, msd)}.safetensors", lambda: ddim_set(prior, REFERENCE_SEED, guidance)
    )
    floor = _stored(
        args.out / f"ddim-floor-{mark(prior, msd)}.safetensors", lambda: ddim_set(prior, FLOOR_SEED, guidance)
    )
    if args.only == "ddim":
        return
    clip = ImageText.open()
    names = (POCKET_CLIP / "names.txt").read_text().splitlines()
    images = {"DDIM, other seeds": floor, "MSD": torch.cat(sets["MSD"]), "SDS": torch.cat(sets["SDS"])}
    spent = {"DDIM, other seeds": 64, "MSD": nfe, "SDS": planned_nfe(prior, sds)}
    results = {r.name: {"nfe": spent[r.name], **measure(images[r.name], reference, clip, names)} for r in ROWS}
    write_atomic(args.out / "results.json", json.dumps(results, indent=2))
    low, high = difference(images["SDS"], images["MSD"], reference, clip)
    text = table(results) + f"\nFréchet distance of SDS minus that of MSD, 95 %: {low:.4f} to {high:.4f}.\n"
    write_atomic(args.out / "results.md", text)
    n = len(PROMPTS)
    rows = torch.cat([reference[:n], images["SDS"][:n], images["MSD"][:n]])
    write_atomic(args.out / "comparison.png", png(sheet(rows, columns=n)))
    print(text)


def table(results: dict[str, dict[str, object]]) -> str:
    """Markdown."""
    lines = [
        "| pictures | nfe | Fréchet distance (95 % of resamples) | kernel distance x 1e3 (95 % of resamples) "
        "| similarity | median rank | expected |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        r = results[row.name]
        f, k = r["frechet_95"], r["kernel_95"]
        assert isinstance(f, list)
        assert isinstance(k, list)
        lines.append(
            f"| {row.name} | {r['nfe']} | {r['frechet']:.4f} ({f[0]:.4f} to {f[1]:.4f}) "
            f"| {1e3 * float(str(r['kernel'])):.2f} ({1e3 * k[0]:.2f} to {1e3 * k[1]:.2f}) "
            f"| {r['similarity']:.3f} | {r['median_rank']:.0f} | {row.expected} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
