import math

import numpy as np
import pytest
import torch
from closed_forms import POINTS, Rows, gaussian, t64

from modeseek.denoisers import MixtureDenoiser
from modeseek.estimators.rise import asked, noise_level, rise, rising
from modeseek.noise import NoiseTable
from modeseek.randomness import Streams
from modeseek.samplers import invert

TABLE = NoiseTable.vp()
S = TABLE.sigmas
MODEL = MixtureDenoiser(gaussian())


def ts(*timesteps: int) -> torch.Tensor:
    return torch.tensor(timesteps)


def test_levels_of_each_sample():
    """SDI-1: a sample that has arrived waits for the others, and no level is asked for twice."""
    levels = rising(TABLE, 10, float(S[0]), ts(150, 320, 1), ts(150, 320, 1))
    expected = [S[ts(0, 0, 0)], S[ts(1, 1, 1)], S[ts(101, 101, 1)], S[ts(150, 201, 1)], S[ts(150, 301, 1)]]
    torch.testing.assert_close(levels, torch.stack([*expected, S[ts(150, 320, 1)]]))


def test_a_start_among_the_levels():
    """SDI-1: levels below the start are left out; an end below it starts where it ends."""
    levels = rising(TABLE, 10, float(S[250]), ts(150, 320), ts(150, 320))
    torch.testing.assert_close(levels, torch.stack([S[ts(150, 250)], S[ts(150, 301)], S[ts(150, 320)]]))
    assert rising(TABLE, 10, float(S[250]), ts(150, 200), ts(150, 200)).shape == (1, 2)


@pytest.mark.parametrize("steps", [1, 3, 1000])
def test_any_number_of_steps(steps):
    """SDI-1."""
    t = ts(999, 500, 0)
    levels = rising(TABLE, steps, float(S[0]), t, t)
    assert bool((levels[1:] >= levels[:-1]).all())
    assert torch.equal(levels[-1], S[t])
    assert len(levels) == {1: 3, 3: 5, 1000: 1000}[steps]


def test_what_is_asked():
    """SDI-1: the lower level of each step; the upper one in the place of 0; a number where all agree."""
    levels = t64([[0.0, 0.0], [1.0, 2.0], [3.0, 3.0], [4.0, 4.0]])
    first, second, third = asked(levels)
    assert torch.equal(first, t64([1.0, 2.0]))
    assert torch.equal(second, t64([1.0, 2.0]))
    assert third == 3.0


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_levels_of_one_are_the_inversion_itself(eta):
    """SDI-1, DDIM-4: exchanged noise is samplers.invert's."""
    levels = rising(TABLE, 7, 0.05, ts(700), ts(700))
    told = {"eta": eta, "max_eps": 2.0}
    ours = rise(MODEL, t64(POINTS), levels.expand(-1, 5), None, fresh="exchanged", rng=Streams.for_batch(0, 5), **told)
    theirs = invert(MODEL, t64(POINTS), levels[:, 0].flip(0), rng=Streams.for_batch(0, 5), **told)[0]
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_the_added_noise_is_the_public_codes():
    """SDI-3: eta sqrt(var) in VP coordinates, divided by a of the upper level; below that of DDIM-4."""
    abar = 1 / (1 + S.numpy() ** 2)
    p, q = np.array([0, 1, 401]), np.array([1, 101, 550])
    variance = (1 - abar[p]) / (1 - abar[q]) * (1 - abar[q] / abar[p])
    ours = noise_level(S[torch.tensor(p)], S[torch.tensor(q)], 0.3, "added")
    np.testing.assert_allclose(ours.numpy(), 0.3 * np.sqrt(variance) / np.sqrt(abar[q]), rtol=1e-9)
    assert bool((ours < noise_level(S[torch.tensor(p)], S[torch.tensor(q)], 0.3, "exchanged")).all())


def test_without_noise_nothing_is_drawn():
    """SDI-1."""
    levels, streams = rising(TABLE, 5, 0.05, ts(700), ts(700)).expand(-1, 5), Streams.for_batch(0, 5)
    rise(Rows(MODEL), t64(POINTS), levels, None, eta=0.0, fresh="added", max_eps=math.inf, rng=streams)
    assert torch.equal(streams.normal((5, 2)), Streams.for_batch(0, 5).normal((5, 2)))
