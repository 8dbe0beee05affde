"""The paper's Figure 6: what the kernel's bandwidth does to the product samples, at several steps of a run.

Rows: bandwidths, from one that lets any sample through to one that pins. Columns: steps of one run of MSD. Every
picture is the decoded y ~ p(y) N(y; x, h^2) of the rendering x at that step, from the same starting noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from modeseek.compare.config import Contender
from modeseek.compare.measure import found
from modeseek.compare.protocols import configure
from modeseek.compare.report import failures
from modeseek.compare.run import Comparison
from modeseek.config import ImageConfig, product_options
from modeseek.errors import RunError
from modeseek.experiments.config import ReproduceConfig
from modeseek.experiments.images import begin, tell
from modeseek.methods import PRODUCT_SAMPLERS, ProductSamplerName
from modeseek.pictures import labelled, png
from modeseek.plots import Curves, curves, keep
from modeseek.randomness import Streams
from modeseek.reports import table
from modeseek.runs import write_atomic

LAMBDAS = (1e3, 1e2, 10.0, 1.0, 0.1, 1e-2)  # the paper's; ours is this over sqrt(2)
COLUMNS = 6
SAMPLERS: tuple[ProductSamplerName, ...] = ("exponential_inverted", "proximal")
DRAW_STEP = 1_000_000  # the streams' step of the starting noise, away from those of a run


@dataclass(frozen=True)
class Row:
    """A line of the figure.

    Attributes:
        sampler: of the product.
        paper: the bandwidth as the paper states it.
        bandwidth: standard deviation of the kernel.
        shift: root mean square of y - x at each column.
    """

    sampler: str
    paper: float
    bandwidth: float
    shift: tuple[float, ...]


def draw_row(
    comparison: Comparison, image: ImageConfig, sampler: ProductSamplerName, x: Tensor, paper: float
) -> tuple[Row, Tensor]:
    """Product samples at the columns' renderings x (K, C, h, w), decoded (K, 3, H, W)."""
    prior, settings = comparison.prior, image.settings
    bandwidth = paper / 2**0.5
    grid, options = prior.grid(comparison.config.ddim_steps), product_options(image)
    product = PRODUCT_SAMPLERS[sampler].load().build(grid, options, prior.denoiser)
    rng = Streams([image.seed] * len(x), [0] * len(x)).at(DRAW_STEP)
    with torch.no_grad():
        y = product(prior.guided(settings.guidance), x, bandwidth, prior.encode_prompt(image.prompts), rng=rng)
    shift = (y - x).square().flatten(1).mean(1).sqrt().tolist()
    return Row(sampler, paper, bandwidth, tuple(shift)), prior.decode(y)


def main(config: ReproduceConfig) -> int:
    """Draw figure6-SAMPLER.png and figure6-shift.png; write figure6.md and figure6.json."""
    contender, inner = Contender("msd"), config.comparison("msd", snapshots=COLUMNS, seeds="0")
    comparison = Comparison.open(inner, say=lambda line: print(line, flush=True))
    comparison.texts = comparison.texts[:1]
    if not begin(comparison, config, (contender,)):
        return 0
    held = found(comparison, contender)
    if not held:
        raise RunError(f"the run must be there to draw from; it failed:\n{failures(comparison)}")
    cell, painted = held[0]
    image = configure(comparison.config, contender, cell.prompt, cell.config.seed)
    renderings = painted.images.float() / 255
    x = comparison.prior.encode(renderings.to(comparison.prior.device)).detach()
    rows = []
    for sampler in SAMPLERS:
        made = [draw_row(comparison, image, sampler, x, paper) for paper in LAMBDAS]
        rows += [row for row, _ in made]
        names = ["rendering at step " + ", ".join(map(str, painted.steps.tolist()))]
        names += [f"lambda = {row.paper:g}" for row, _ in made]
        pictures = torch.stack([renderings, *(images.cpu() for _, images in made)])
        write_atomic(config.folder() / f"figure6-{sampler}.png", png(labelled(pictures, names)))
    keep(config.folder() / "figure6-shift", shifts(rows, painted.steps.tolist()))
    return tell(comparison, config, text(rows, painted.steps.tolist()), rows)


def text(rows: Sequence[Row], steps: Sequence[int]) -> str:
    """Root mean square of y - x as Markdown."""
    head = ["sampler", "lambda (paper)", "bandwidth", *(f"step {step}" for step in steps)]
    return table(
        head, [[r.sampler, f"{r.paper:g}", f"{r.bandwidth:.3g}", *(f"{s:.3f}" for s in r.shift)] for r in rows]
    )


def shifts(rows: Sequence[Row], steps: Sequence[int]) -> dict[str, bytes]:
    """How far a sample is from the rendering, against the bandwidth."""
    items = []
    for sampler in SAMPLERS:
        mine = [r for r in rows if r.sampler == sampler]
        lines = {f"step {step}": [(r.bandwidth, r.shift[k]) for r in mine] for k, step in enumerate(steps)}
        items.append(Curves(sampler, "bandwidth", "rms of y - x", lines, log_x=True))
    return curves(items)
