"""What a scene is told: presets fill it, YAML keeps it, nonsense is refused in one sentence."""

from __future__ import annotations

import dataclasses
from typing import Any, get_args

import pytest

from modeseek.config import Preset, from_yaml, to_yaml
from modeseek.errors import UsageError
from modeseek.methods import ESTIMATORS
from modeseek.scene.config import SCENES, SceneConfig, SceneSettings, resolve_scene
from modeseek.scene.later import ExportConfig, ViewConfig


@pytest.mark.parametrize("preset", get_args(Preset))
@pytest.mark.parametrize("method", ESTIMATORS)
def test_a_preset_fills_everything(preset: Preset, method: Any) -> None:
    config = resolve_scene(SceneConfig("cat", preset=preset, method=method))
    assert config.scene == SCENES[preset]
    for field in dataclasses.fields(SceneSettings):
        assert getattr(config, field.name) is not None
    assert resolve_scene(config) == config
    assert from_yaml(to_yaml(config), "config.yaml", SceneConfig) == config


def test_the_papers_preset() -> None:
    """512 pixels are Stable Diffusion's own; one view, 7000 steps of Adam at 1e-2, a hash grid, two layers of 64."""
    config = resolve_scene(SceneConfig("cat", preset="paper", prior="some/model"))
    assert (config.views, config.steps, config.lr, config.encoding) == (1, 7000, 1e-2, "hash-grid")
    assert (config.width, config.layers, config.rendered, config.refresh_every) == (64, 2, 0, 1)


def test_all_methods_of_quick_cost_the_same() -> None:
    """So that what they give can be compared: MSD's and SDI's targets are dearer and serve more steps."""
    msd, sds = (resolve_scene(SceneConfig("cat", method=m)) for m in ("msd", "sds"))
    assert msd.steps // msd.refresh_every * msd.sample_steps == sds.steps


def test_another_model_knows_views() -> None:
    """The shipped one knows none, and its pictures are on white."""
    shipped, other = SceneConfig("cat").scene, SceneConfig("cat", prior="some/model").scene
    assert (shipped.view_prompts, shipped.backdrop) == (False, "white")
    assert (other.view_prompts, other.backdrop) == (True, "mlp")
    assert SceneConfig("cat", prior="some/model", view_prompts=False).scene.view_prompts is False


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": "  "}, "every prompt must hold at least one word"),
        ({"views": 0}, "views must be at least 1, got 0"),
        ({"samples": 0}, "samples must be at least 1, got 0"),
        ({"chunk": 0}, "chunk must be at least 1, got 0"),
        ({"turntable": 0}, "turntable must be at least 1, got 0"),
        ({"importance": -1}, "importance must be at least 0"),
        ({"sparsity": float("inf")}, "sparsity must be at least 0 and finite"),
        ({"smoothness": -1.0}, "smoothness must be at least 0"),
        ({"distortion": -1.0}, "distortion must be at least 0"),
        ({"coarse": 1.5}, "coarse must be a share between 0 and 1, got 1.5"),
        ({"distance": (0.0, 3.0)}, "no camera is inside the cube"),
        ({"distance": (1.0, 3.0)}, "no camera is inside the cube"),
        ({"distance": (3.0, 2.0)}, "distance must be a range above 1.73"),
        ({"elevation": (-100.0, 0.0)}, "within -90 to 90 degrees"),
        ({"azimuth": (10.0, 0.0)}, "azimuth must be a range from low to high"),
        ({"fov": (0.0, 40.0)}, "fov must be a range between 0 and 180"),
        ({"perp_neg": True}, "perp_neg must have the prompts of views"),
        ({"plane_resolution": ()}, "at least 2 in every scale"),
        ({"plane_resolution": (1,)}, "at least 2 in every scale"),
        ({"ball": 0.0}, "ball must be positive"),
        ({"loss": "image"}, "loss image is a choice of sds"),
    ],
)
def test_nonsense_is_refused(options: dict[str, Any], message: str) -> None:
    told = {"prompt": "cat", **options}
    with pytest.raises(UsageError, match=message):
        SceneConfig(**told)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda run: ExportConfig(run, resolution=1), "resolution must be at least 2, got 1"),
        (lambda run: ExportConfig(run, threshold=0.0), "threshold must be positive and finite"),
        (lambda run: ExportConfig(run, floaters=1.0), "floaters must be a share"),
        (lambda run: ViewConfig(run, port=0), "port must be between 1 and 65535"),
        (lambda run: ViewConfig(run, seconds=0.0), "seconds must be positive"),
    ],
)
def test_nonsense_after_a_run_is_refused(build: Any, message: str, tmp_path: Any) -> None:
    with pytest.raises(UsageError, match=message):
        build(tmp_path)
