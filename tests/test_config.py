"""What a run is told: presets fill it, YAML keeps it, nonsense is refused in one sentence."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from modeseek.config import (
    METHOD_PRESETS,
    PRESETS,
    ImageConfig,
    Preset,
    SampleConfig,
    Settings,
    from_yaml,
    product_options,
    resolve,
    times,
    to_yaml,
)
from modeseek.errors import UsageError
from modeseek.methods import (
    ESTIMATORS,
    PRODUCT_SAMPLERS,
    EstimatorName,
    ProductOptions,
    ProductSamplerName,
)
from modeseek.schedules import Anneal, Uniform

PROMPTS = ("red cat",)


def test_the_names_are_those_of_the_tables() -> None:
    assert get_args(EstimatorName) == tuple(ESTIMATORS)
    assert get_args(ProductSamplerName) == tuple(PRODUCT_SAMPLERS)
    assert set(get_args(Preset)) == set(PRESETS)
    assert set(get_args(EstimatorName)) == set(METHOD_PRESETS) == set(ESTIMATORS)


# -- presets -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", get_args(Preset))
def test_a_preset_fills_what_is_not_given(preset: Preset) -> None:
    config = resolve(ImageConfig(PROMPTS, preset=preset))
    for field in dataclasses.fields(Settings):
        assert getattr(config, field.name) == getattr(PRESETS[preset], field.name)
    assert config.preset == preset
    assert resolve(config) == config
    assert config.settings == PRESETS[preset]


@pytest.mark.parametrize("preset", get_args(Preset))
def test_what_is_given_stays(preset: Preset) -> None:
    given: dict[str, Any] = {"steps": 3, "guidance": 1.5, "kernel_low": 0.25, "start": "posterior_mean"}
    config = resolve(ImageConfig(PROMPTS, preset=preset, lr=0.5, **given))
    assert {k: getattr(config, k) for k in given} == given
    settings = config.settings
    assert settings == dataclasses.replace(PRESETS[preset], lr=0.5, **given)


@pytest.mark.parametrize("preset", get_args(Preset))
@pytest.mark.parametrize("method", METHOD_PRESETS)
def test_every_method_has_its_presets(method: EstimatorName, preset: Preset) -> None:
    config = ImageConfig(PROMPTS, preset=preset, method=method)
    settings = config.settings
    assert settings == METHOD_PRESETS[method][preset]
    assert (settings.time, settings.time_low, settings.weighting) == (
        ("linear", 0.25, "x0") if method == "sdi" else ("uniform", 0.02, "sigma2")
    )
    assert dataclasses.replace(config, time_low=0.0).settings.time_low == 0.0
    assert resolve(resolve(config)) == resolve(config)


def test_the_papers_guidance_of_both_passes() -> None:
    """SDI's 7.5 and -7.5 are 8.5 and -6.5 in this project's convention."""
    settings = METHOD_PRESETS["sdi"]["paper"]
    assert (settings.guidance, settings.inversion_guidance) == (1 + 7.5, 1 - 7.5)


def test_vsds_presets() -> None:
    """Wang et al.'s guidance is in diffusers' convention; quick: the evaluations of msd's quick, LoRA's among them."""
    paper, quick = METHOD_PRESETS["vsd"]["paper"], METHOD_PRESETS["vsd"]["quick"]
    assert paper == dataclasses.replace(METHOD_PRESETS["sds"]["paper"], guidance=7.5)
    msd = METHOD_PRESETS["msd"]["quick"]
    assert quick.steps * (2 + 1) == msd.steps // msd.refresh_every * msd.sample_steps * 2
    assert (quick.guidance, quick.refresh_every) == (msd.guidance, 1)


# -- times -------------------------------------------------------------------------------------------------------------


def test_drawn_times() -> None:
    assert times(ImageConfig(PROMPTS, method="sds")) == Uniform(0.02, 0.98)
    told = ImageConfig(PROMPTS, method="vsd", time_low=0.1, time_high=0.9, time_drop=(5000, 0.5))
    assert times(told) == Uniform(0.1, 0.9, drop=(5000, 0.5))
    assert from_yaml(to_yaml(told), "config.yaml", ImageConfig) == told


@pytest.mark.parametrize("shape", ["linear", "sqrt"])
@pytest.mark.parametrize(("method", "refresh", "length"), [("sds", 1, 7), ("vsd", 1, 7), ("sdi", 3, 7), ("sdi", 4, 5)])
def test_a_falling_time_is_as_long_as_the_run(shape: Any, method: Any, refresh: int, length: int) -> None:
    """The public SDI's length is an option of its own, and its t falls below the smallest when that is too small."""
    config = ImageConfig(PROMPTS, method=method, time=shape, steps=7, refresh_every=refresh, time_low=0.3)
    assert times(config) == Anneal(0.98, 0.3, length, shape)


def test_a_method_may_be_given_anothers_time() -> None:
    assert times(ImageConfig(PROMPTS, method="sdi", time="uniform")) == Uniform(0.25, 0.98)
    assert times(ImageConfig(PROMPTS, method="sdi")) == Anneal(0.98, 0.25, 397)  # 400 steps, the last target at 396


def test_a_zero_is_given() -> None:
    assert resolve(ImageConfig(PROMPTS, guidance=0.0)).guidance == 0.0


def test_the_default_preset() -> None:
    assert resolve(ImageConfig(PROMPTS)).preset == "quick"
    assert resolve(ImageConfig(PROMPTS, prior="some/model")).preset == "quick"
    assert resolve(ImageConfig(PROMPTS, preset="paper")).preset == "paper"


def test_the_guidance_of_quick_is_the_models() -> None:
    """4 for the shipped model, for others what they are used with; the paper's 7.5 is 8.5 here."""
    found = [
        resolve(ImageConfig(PROMPTS, prior=prior, preset=preset)).guidance
        for prior in ("pocket", "some/model")
        for preset in ("quick", "paper")
    ]
    assert found == [4.0, 8.5, 7.5, 8.5]
    assert resolve(ImageConfig(PROMPTS, prior="some/model", guidance=2.0)).guidance == 2.0


def test_quick_keeps_within_a_tenth_of_the_papers_evaluations() -> None:
    quick, paper = METHOD_PRESETS["msd"]["quick"], METHOD_PRESETS["msd"]["paper"]
    assert paper.steps * (32 * 2 + 32) == 38_400
    assert quick.steps // quick.refresh_every * quick.sample_steps * 2 == 600
    assert quick.steps == paper.steps


def test_product_options_are_the_configurations() -> None:
    config = ImageConfig(
        PROMPTS,
        start="posterior_mean",
        kernel_low=0.1,
        kernel_high=3.0,
        clock="timestep",
        data_variance=0.5,
        sweeps=3,
        max_eps=1.25,
        printed_start=True,
    )
    expected = ProductOptions(
        start="posterior_mean",
        low=0.1,
        high=3.0,
        clock="timestep",
        data_variance=0.5,
        sweeps=3,
        max_eps=1.25,
        printed_start=True,
    )
    assert product_options(config) == expected


# -- YAML --------------------------------------------------------------------------------------------------------------

WHOLE = ImageConfig(
    ("red cat", "Ünïcode: 🐈 #1", "- yes", "null", "1e3", " two  spaces", "line\nbreak"),
    out=Path("a b/run"),
    prior="/models/x: y",
    negative="no, 'quotes' \"here\"",
    guidance_high=math.inf,
    max_eps=math.inf,
    lr=1e-05,
    bandwidth_start=1e3 / math.sqrt(2),
    bandwidth_end=1e-2 / math.sqrt(2),
    init=Path("~/picture.png"),
    seed=-3,
)


@pytest.mark.parametrize("config", [ImageConfig(PROMPTS), WHOLE, resolve(ImageConfig(PROMPTS)), resolve(WHOLE)])
def test_yaml_comes_back(config: ImageConfig) -> None:
    assert from_yaml(to_yaml(config), "config.yaml", ImageConfig) == config


def test_yaml_of_a_resolved_configuration_is_complete() -> None:
    written = yaml.safe_load(to_yaml(resolve(ImageConfig(PROMPTS))))
    assert list(written) == [f.name for f in dataclasses.fields(ImageConfig)]
    assert all(written[f.name] is not None for f in dataclasses.fields(Settings))
    assert written["preset"] is not None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prompts: [x]\nstepz: 3", r"run/config\.yaml, key stepz: Unexpected keyword argument, got 3"),
        ("prompts: [x]\nsteps: many", r"run/config\.yaml, key steps: Input should be a valid integer.*, got 'many'"),
        ("prompts: [x]\nsteps: 0", r"run/config\.yaml: steps must be at least 1, got 0$"),
        ("prompts: [x]\nbandwidth_start: -1", r"run/config\.yaml: bandwidth_start must be positive and finite, got -1"),
        ("prompts: [x]\nmethod: magic", r"run/config\.yaml, key method: Input should be .*, got 'magic'"),
        ("prompts: []", r"run/config\.yaml: every prompt must hold at least one word, got \[\]$"),
        ("prompts: 3", r"run/config\.yaml, key prompts: .*, got 3"),
        ("prompts: [3]", r"run/config\.yaml, key prompts\.0: .*, got 3"),
        ("seed: 1", r"run/config\.yaml, key prompts: Field required$"),
        ("- x", r"run/config\.yaml must hold a mapping of options, got list$"),
        ("", r"run/config\.yaml must hold a mapping of options, got NoneType$"),
        ("prompts: [x", r"run/config\.yaml must be YAML: "),
        ("prompts: !!python/object/apply:os.getcwd []", r"run/config\.yaml must be YAML: "),
    ],
)
def test_yaml_that_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        from_yaml(text, "run/config.yaml", ImageConfig)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


# -- what cannot run ---------------------------------------------------------------------------------------------------

INF, NAN = math.inf, math.nan


@pytest.mark.parametrize(
    ("given", "message"),
    [
        *[({k: 0}, f"{k} must be at least 1, got 0") for k in ("steps", "sample_steps", "refresh_every", "n_samples")],
        *[({k: -2}, f"{k} must be at least 1, got -2") for k in ("sweeps", "size", "picture_every")],
        *[({k: 0}, f"{k} must be at least 1, got 0") for k in ("checkpoint_every", "mlp_width", "mlp_layers")],
        ({"mlp_features": 0}, "mlp_features must be at least 1, got 0"),
        *[
            ({k: v}, f"{k} must be positive and finite, got {v}")
            for k in ("lr", "bandwidth_start", "bandwidth_end", "data_variance", "mlp_bandwidth")
            for v in (0.0, -1.0, INF, NAN)
        ],
        ({"max_eps": 0.0}, "max_eps must be positive, got 0.0"),
        ({"max_eps": NAN}, "max_eps must be positive, got nan"),
        ({"guidance": NAN}, "guidance must be finite, got nan"),
        ({"guidance": INF}, "guidance must be finite, got inf"),
        ({"bandwidth_start": 1.0, "bandwidth_end": 2.0}, "bandwidth_start must be at least bandwidth_end, got 1.0 < 2"),
        ({"time_low": 0.5, "time_high": 0.4}, "0 <= time_low <= time_high <= 1 must hold, got 0.5 and 0.4"),
        ({"time_high": 1.1}, "0 <= time_low <= time_high <= 1"),
        ({"time_low": -0.1}, "0 <= time_low <= time_high <= 1"),
        ({"time_high": -0.1}, "0 <= time_low <= time_high <= 1"),
        ({"inversion_steps": 0}, "inversion_steps must be at least 1, got 0"),
        ({"inversion_guidance": math.inf}, "inversion_guidance must be finite, got inf"),
        ({"inversion_eta": 1.5}, r"inversion_eta must be in \[0, 1\], got 1.5"),
        ({"inversion_eta": math.nan}, r"inversion_eta must be in \[0, 1\], got nan"),
        ({"inversion_start": -1.0}, "inversion_start must be finite and at least 0, got -1.0"),
        ({"inversion_start": math.inf}, "inversion_start must be finite and at least 0, got inf"),
        ({"method": "ddim"}, "method must be one of sds, vsd, sdi, msd, got 'ddim'"),
        *[({k: 0}, f"{k} must be at least 1, got 0") for k in ("particles", "lora_rank", "lora_steps")],
        *[({"lora_lr": v}, f"lora_lr must be positive and finite, got {v}") for v in (0.0, -1.0, INF, NAN)],
        ({"method": "sds", "time_drop": (5, 0.99)}, "the time's drop must be a step and a time from 0.02 to 0.98"),
        ({"method": "vsd", "time_drop": (-1, 0.5)}, "the time's drop must be a step and a time from 0.02 to 0.98"),
        ({"method": "sdi", "time_drop": (5, 0.5)}, "time_drop is a choice of uniform times, got it for linear"),
        ({"method": "sds", "time": "sqrt", "time_drop": (5, 0.5)}, "time_drop is a choice of uniform times"),
        ({"method": "sds", "time": "cosine"}, "the time's shape must be linear or sqrt, got 'cosine'"),
        ({"method": "sdi", "time_high": 0.2}, "a time must satisfy 0 <= end <= start <= 1, got start 0.2 and end 0.25"),
        *[({"method": m, "loss": "image"}, f"loss image is a choice of sds, got it for {m}") for m in ("vsd", "msd")],
        (
            {"method": "sds", "loss": "image", "generator": "latents"},
            "loss image must have a generator of pictures, got latents",
        ),
        (
            {"posterior": "sample", "generator": "latents"},
            "posterior sample must have a generator of pictures, got latents",
        ),
        ({"guidance_low": 2.0, "guidance_high": 1.0}, "0 <= guidance_low < guidance_high must hold, got 2.0 and 1.0"),
        ({"guidance_low": -1.0}, "0 <= guidance_low < guidance_high"),
        ({"kernel_low": 2.0, "kernel_high": 1.0}, "0 <= kernel_low < kernel_high must hold, got 2.0 and 1.0"),
        ({"kernel_low": -1.0}, "0 <= kernel_low < kernel_high"),
        ({"kernel_low": NAN}, "0 <= kernel_low < kernel_high"),
        ({"kernel_high": 0.0}, "0 <= kernel_low < kernel_high"),
        ({"threads": -1}, "threads must be at least 0, got -1"),
        ({"prompts": ()}, r"every prompt must hold at least one word, got \[\]"),
        ({"prompts": ("cat", " \t")}, "every prompt must hold at least one word"),
    ],
)
def test_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ImageConfig(**{"prompts": PROMPTS, **given})


def test_a_resolved_configuration_is_checked_again() -> None:
    with pytest.raises(UsageError, match="bandwidth_start must be at least bandwidth_end"):
        resolve(ImageConfig(PROMPTS, bandwidth_end=1e6))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n": 0}, "n and steps must be at least 1, got 0 and"),
        ({"steps": 0}, "n and steps must be at least 1, got 1 and 0"),
        ({"eta": 1.5}, r"eta must be in \[0, 1\], got 1.5"),
        ({"eta": NAN}, "eta must be in"),
        ({"guidance": NAN}, "guidance must be finite, got nan"),
        ({"prompts": ("",)}, "every prompt must hold at least one word"),
    ],
)
def test_samples_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SampleConfig(**{"prompts": PROMPTS, **given})
