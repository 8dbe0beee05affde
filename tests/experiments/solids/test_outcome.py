"""A run from random fields to a score, on few pixels and a field of a few voxels."""

import pytest
from voxels import voxels

from modeseek.experiments.solids.methods import CONTROLS, METHODS
from modeseek.experiments.solids.outcome import Setting, run
from modeseek.experiments.solids.table import Arena

ARENA = Arena.of(size=16, trained_on=12, held=4)
SETTING = Setting(lr=5e-2, shown=2)
BY_NAME = {m.name: m for m in (*METHODS, *CONTROLS)}


def ends(name, budget, seeds, field=voxels):
    return run(BY_NAME[name], budget, seeds, ARENA.stock, ARENA.judge, field, SETTING)


def test_where_one_solid_is_known_the_field_becomes_it():
    """The seed says which; a field's IoU and pictures then are that solid's."""
    (end,) = ends("*one solid is known*", 120, [2])
    assert end.numbers["solid"] == 2
    assert end.numbers["on_one"] == 1
    assert end.numbers["psnr"] > 20
    assert end.pictures.shape == (2, 3, 16, 16)


def test_the_mean_picture_is_no_solid():
    (end,) = ends("*the mean picture*", 120, [0])
    assert end.numbers["on_one"] == 0
    assert abs(end.numbers["margin"]) < 1.5  # what the mean picture itself scores


def test_msd_ends_on_one_of_the_eight():
    (end,) = ends("MSD, `posterior_mean`", 160, [0])
    assert end.numbers["on_one"] == 1
    assert end.numbers["nfe"] == end.numbers["steps"] == 160


def test_fields_of_vsd_are_driven_together():
    together = ends("VSD", 8, [4, 5, 6, 7])
    assert [e.numbers["steps"] for e in together] == [4] * 4
    assert [e.numbers["nfe"] for e in together] == [8] * 4
    assert len({e.numbers["psnr"] for e in together}) == 4


@pytest.mark.parametrize("name", ["SDI", "MSD, `exact`"])
def test_a_run_is_a_function_of_its_seed(name):
    first, again, other = (ends(name, 8, [s])[0].numbers for s in (0, 0, 1))
    assert first == again
    assert first["psnr"] != other["psnr"]
