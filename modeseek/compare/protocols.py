"""A protocol turns a method into the configuration of a run: same generator, optimiser and steps for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from modeseek.compare.config import CompareConfig, Contender
from modeseek.config import ImageConfig, Preset, resolve
from modeseek.schedules import WarmCosine

# the same number 7.5 (100 for sds in the playground) in each source's own convention, see docs/conventions.md
PAPER_GUIDANCE = {"sds": 8.5, "vsd": 7.5, "sdi": 8.5, "msd": 8.5}
PLAYGROUND_GUIDANCE = {"sds": 101.0, "vsd": 7.5, "sdi": 8.5, "msd": 8.5}
DDIM_GUIDANCE = 7.5
SHARED: Mapping[str, Mapping[str, Any]] = {
    # Adam 1e-2 on a coordinate network, 400 steps: the paper's text-to-2D comparison
    "paper2d": {"generator": "mlp", "lr": 1e-2, "steps": 400},
    # threestudio's 2dplayground: raw latents, AdamW 1e-1 without decay (that is Adam), 1001 steps
    "playground2d": {"generator": "latents", "lr": 1e-1, "steps": 1001},
}
# the authors' 2D notebook of sdi makes 40 targets in 1000 steps
SDI_REFRESH = {"paper2d": 10, "playground2d": 25}
WARM_UP, HORIZON = 100, 1.5  # of the playground's learning rate: steps (a tenth of a shorter run), and times its length


def preset(contender: Contender) -> Preset:
    """Baselines as published, msd as this project sets it, unless it is written out."""
    return contender.preset or ("quick" if contender.method == "msd" else "paper")


def configure(config: CompareConfig, contender: Contender, prompt: str, seed: int) -> ImageConfig:
    """The resolved configuration of one picture."""
    options = dict(SHARED[config.protocol])
    options["guidance"] = config.guidance if config.guidance is not None else guidance(config, contender)
    if contender.method == "sdi" and contender.preset is None:
        options["refresh_every"] = SDI_REFRESH[config.protocol]
        if config.protocol == "playground2d":
            options["time_low"] = 0.02  # the notebook's; 0.25 is that of the runs in 3D
    if config.steps is not None:
        options["steps"] = config.steps
    if config.refresh_every is not None and contender.method in ("msd", "sdi"):
        options["refresh_every"] = config.refresh_every
    return resolve(
        ImageConfig(
            (prompt,),
            prior=config.prior,
            method=contender.method,  # type: ignore[arg-type]
            preset=preset(contender),
            seed=seed,
            device=config.device,
            dtype=config.dtype,
            **(options | dict(contender.options)),
        )
    )


def guidance(config: CompareConfig, contender: Contender) -> float:
    """The protocol's guidance scale of a method, in this project's convention."""
    scales = PAPER_GUIDANCE if config.protocol == "paper2d" else PLAYGROUND_GUIDANCE
    return scales[contender.method]


def learning_rate(config: CompareConfig, image: ImageConfig) -> Callable[[int], float] | None:
    """The learning rate over steps; None where it is constant."""
    if config.protocol == "paper2d":
        return None
    settings = image.settings
    return WarmCosine(settings.lr, min(WARM_UP, settings.steps // 10), round(HORIZON * settings.steps))
