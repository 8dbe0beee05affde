"""What a reproduction is told."""

from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest

from modeseek.errors import UsageError
from modeseek.experiments.config import Images, Planar, ReproduceConfig


@pytest.mark.parametrize("name", [*get_args(Planar), *get_args(Images)])
def test_every_reproduction_has_a_program(name):
    assert callable(import_module(f"modeseek.experiments.{name}").main)
    assert ReproduceConfig(name).folder() == Path("modeseek-runs") / name


def test_of_the_plane():
    table, figure = ReproduceConfig("table1"), ReproduceConfig("figure3", sets=("moons",), out=Path("here"))
    assert (table.chosen(), table.count) == (("fractal", "spiral", "pinwheel"), 3)
    assert (figure.chosen(), figure.folder()) == (("moons",), Path("here"))
    assert ReproduceConfig("figure1").chosen() == ("fractal",)


def test_of_images():
    config = ReproduceConfig("table3", prior="here", dtype="bfloat16", batch=7)
    inner = config.comparison("sds,msd", snapshots=4)
    assert (inner.prior, inner.dtype, inner.batch, inner.snapshots) == ("here", "bfloat16", 7, 4)
    assert (inner.protocol, inner.out, inner.chosen_seeds()) == ("paper2d", config.folder(), tuple(range(8)))
    shipped = ReproduceConfig("table3").comparison("msd")
    assert len(shipped.texts()) * len(shipped.chosen_seeds()) >= 160  # pictures a method
    assert ReproduceConfig("table4", seeds=3).comparison("msd").chosen_seeds() == (0, 1, 2)


@pytest.mark.parametrize(
    ("what", "options", "says"),
    [
        ("table1", {"seeds": 0}, "seeds must be at least 1, got 0"),
        ("table1", {"sets": ()}, "sets must name at least one set"),
        ("table1", {"full": True}, "full is a choice of table2, table3, table4 and scenes, got it for table1"),
        ("figure1", {"prior": "x", "batch": 3}, "prior, batch must not be given for figure1"),
        ("table3", {"sets": ("moons",)}, "sets must not be given for table3"),
        ("figure6", {"prompts": Path("absent")}, "must be a file that can be read"),
        ("ablation", {"batch": 0}, "batch must be at least 1"),
    ],
)
def test_mistakes(what, options, says):
    with pytest.raises(UsageError, match=says):
        ReproduceConfig(what, **options)
