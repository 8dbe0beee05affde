from typing import get_args

import numpy as np
import pytest
import torch

from modeseek.errors import UsageError
from modeseek.estimators.levels import Levels, weight
from modeseek.methods import Weighting
from modeseek.noise import NoiseTable
from modeseek.randomness import Streams
from modeseek.schedules import Anneal, Uniform

TABLE = NoiseTable.vp()
ABAR = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)  # of Stable Diffusion, by its own recipe

FORMULAS = {  # as threestudio writes them, in abar
    "sigma2": 1 - ABAR,
    "uniform": np.ones(1000),
    "fantasia3d": np.sqrt(ABAR) * (1 - ABAR),
    "x0": np.sqrt(1 - ABAR) / np.sqrt(ABAR),
}


@pytest.mark.parametrize("name", get_args(Weighting))
def test_weights_of_stable_diffusions_timesteps(name):
    """SDS-3."""
    np.testing.assert_allclose(weight(name, TABLE.sigmas).numpy(), FORMULAS[name], rtol=1e-10)
    assert weight(name, TABLE.sigmas.float()).dtype == torch.float32


def test_the_unified_guidances_weight_is_none_of_them():
    """SDS-3: what threestudio's Unified calls "dreamfusion" is 1 - sqrt(abar), 0.47 where 1 - abar is 0.72."""
    unified = 1 - np.sqrt(ABAR)
    assert (unified[500], FORMULAS["sigma2"][500]) == pytest.approx((0.474, 0.724), abs=1e-3)
    assert all(np.abs(weight(n, TABLE.sigmas).numpy() / unified - 1).max() > 0.2 for n in get_args(Weighting))


def test_another_weighting_is_refused():
    with pytest.raises(UsageError, match="weighting must be sigma2, uniform, fantasia3d or x0, got 'dreamfusion'"):
        weight("dreamfusion", TABLE.sigmas)


@pytest.mark.parametrize("time", [Uniform(0.0, 1.0), Uniform(0.2, 0.7), Uniform(0.5, 0.5), Uniform(0, 1, (1, 0.0))])
def test_draws_are_the_spans_levels(time):
    """TIME-2: every timestep of the range is drawn, none outside it, one for each sample."""
    levels, n = Levels(NoiseTable(TABLE.sigmas[::100]), time), 500
    for step in (0, 1):
        drawn = levels(Streams.for_batch(0, n), n, step)
        assert drawn.unique().tolist() == levels.at(step)
        alone = torch.cat([levels(Streams(0, [k]), 1, step) for k in range(20)])
        assert torch.equal(drawn[:20], alone)


def test_no_timestep_lies_outside_the_table():
    """TIME-1: whatever the step, before the start and after the end too."""
    levels = Levels(TABLE, Anneal(1.0, 0.0, 7))
    spans = [levels.span(step) for step in (-3, 0, 1, 6, 7, 10**9)]
    assert spans[0] == spans[1] == (999, 999)
    assert spans[3] == spans[4] == spans[5] == (0, 0)
    assert all(first == last for first, last in spans)
