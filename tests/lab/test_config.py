"""What a run in the plane is told: names, defaults, YAML, and nonsense refused in one sentence."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any, get_args

import pytest

from modeseek.config import from_yaml, to_yaml
from modeseek.errors import UsageError
from modeseek.lab.config import LabConfig, LabMethod
from modeseek.lab.methods import BUILDERS
from modeseek.methods import ESTIMATORS

FLOATS = [f.name for f in dataclasses.fields(LabConfig) if isinstance(f.default, float)]
POSITIVE = ["lr", "box", "bandwidth_start", "bandwidth_end", "sigma_min", "sigma_max", "sigma_start"]
POSITIVE += ["landscape_bandwidth"]
COUNTS = ["steps", "n_samples", "sample_steps", "sweeps", "data", "inversion_steps", "picture_every"]
COUNTS += ["checkpoint_every", "field_draws", "points"]


def test_every_estimator_is_a_method() -> None:
    assert set(get_args(LabMethod)) == {"ddim", *ESTIMATORS}
    assert set(BUILDERS) == set(ESTIMATORS)


def test_the_defaults_are_the_papers() -> None:
    c = LabConfig("fractal")
    assert (c.method, c.sampler, c.denoiser, c.guidance) == ("msd", "posterior_mean", "ideal", "none")
    assert (c.steps, c.lr, c.data, c.box, c.bandwidth_shape) == (150, 0.08, 10_000, 1.5, "linear")
    assert c.bandwidth_start == pytest.approx(0.2234, abs=1e-4)  # lambda 0.316, sqrt(2) standard deviations
    assert (c.bandwidth_end, c.n_samples, c.label, c.out) == (0.02, 1, None, None)


@pytest.mark.parametrize("name", FLOATS)
def test_no_number_is_nan(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name}.*nan"):
        LabConfig("moons", **{name: math.nan})


@pytest.mark.parametrize("name", POSITIVE)
@pytest.mark.parametrize("value", [0.0, -0.1, math.inf])
def test_positive_and_finite(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"{name} must be positive and finite, got {value}"):
        LabConfig("moons", **{name: value})


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [0, -1])
def test_at_least_one(name: str, value: int) -> None:
    with pytest.raises(UsageError, match=f"{name} must be at least 1, got {value}"):
        LabConfig("moons", **{name: value})


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"bandwidth_start": 0.01}, "bandwidth_start must be at least bandwidth_end, got 0.01 < 0.02"),
    ({"sigma_min": 5.0}, "sigma_min must be below sigma_max, got 5.0 and 5.0"),
    ({"time_low": 0.6, "time_high": 0.5}, "0 <= time_low <= time_high <= 1 must hold, got 0.6 and 0.5"),
    ({"time_low": -0.1}, "0 <= time_low <= time_high <= 1 must hold, got -0.1"),
    ({"time_high": 1.1}, "0 <= time_low <= time_high <= 1 must hold, got 0.02 and 1.1"),
    ({"guidance_low": 1.0, "guidance_high": 1.0}, "0 <= guidance_low < guidance_high must hold, got 1.0 and 1.0"),
    ({"guidance_low": -1.0}, "0 <= guidance_low < guidance_high must hold, got -1.0"),
    ({"kernel_low": 2.0, "kernel_high": 1.0}, "0 <= kernel_low < kernel_high must hold, got 2.0 and 1.0"),
    ({"guidance_scale": math.inf}, "guidance_scale must be finite, got inf"),
    ({"eta": 1.1}, r"eta must be in \[0, 1\], got 1.1"),
    ({"eta": -0.1}, r"eta must be in \[0, 1\], got -0.1"),
    ({"smoothing": -0.1}, "smoothing must be at least 0, got -0.1"),
    ({"smoothing": math.inf}, "smoothing must be at least 0, got inf"),
    ({"max_eps": 0.0}, "max_eps must be positive, got 0.0"),
    ({"field": 4}, "field must be at least 5, got 4"),
    ({"points": 1}, "points must be at least 2 a side.*, got 1"),
    ({"threads": -1}, "threads must be at least 0, got -1"),
]


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_wrong(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        LabConfig("moons", **options)


def test_what_is_allowed_at_the_edge() -> None:
    LabConfig("moons", bandwidth_start=0.02, time_low=0.5, time_high=0.5, eta=1.0, max_eps=math.inf, points=2, field=5)


def test_yaml_and_back(tmp_path: Path) -> None:
    for config in (
        LabConfig("fractal"),
        LabConfig("ü.png", out=tmp_path, label=1, kernel_high=3.0, method="vsd", auxiliary="trained", landscape=False),
    ):
        assert from_yaml(to_yaml(config), "config.yaml", LabConfig) == config


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("stepz: 3", r"config\.yaml, key stepz: Unexpected keyword argument, got 3"),
        ("prompts: [cat]", r"config\.yaml, key prompts: Unexpected keyword argument"),
        ("steps: 0", r"config\.yaml: steps must be at least 1, got 0"),
        ("sigma_max: .nan", r"config\.yaml: sigma_max must be positive and finite, got nan"),
        ("steps: many", r"config\.yaml, key steps: .*, got 'many'"),
        ("method: magic", r"config\.yaml, key method: .*, got 'magic'"),
        ("label: one", r"config\.yaml, key label: .*, got 'one'"),
    ],
)
def test_yaml_that_is_wrong(line: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        from_yaml(f"set: moons\n{line}\n", "config.yaml", LabConfig)


def test_yaml_without_a_set() -> None:
    with pytest.raises(UsageError, match="key set: "):
        from_yaml("steps: 3", "config.yaml", LabConfig)
