"""VSD over fields: each view's pictures are the particles."""

import pytest
import torch

from modeseek.denoisers.per_view import PerViewIdeal
from modeseek.errors import UsageError
from modeseek.estimators import SDS, VSD, Particles
from modeseek.experiments.solids.together import Together
from modeseek.noise import NoiseTable
from modeseek.randomness import Streams

FIELDS, VIEWS, EVENT = 3, 2, (3, 4, 4)
G = torch.Generator().manual_seed(0)
X = torch.rand(FIELDS * VIEWS, *EVENT, generator=G, dtype=torch.float64)
KNOWN = torch.rand(FIELDS * VIEWS, 5, *EVENT, generator=G, dtype=torch.float64)
TABLE = NoiseTable.vp(1000)


def streams(rows):
    return Streams(0, rows)


def test_a_views_rows_are_the_particles_of_that_view():
    """As Particles of each view's rows alone: rows are laid out field by field."""
    target = VSD(PerViewIdeal(), TABLE, Together(FIELDS))(X, KNOWN, rng=streams(range(6))).target
    for view in range(VIEWS):
        rows = [view + VIEWS * f for f in range(FIELDS)]
        alone = VSD(PerViewIdeal(), TABLE, Particles())(X[rows], KNOWN[rows], rng=streams(rows)).target
        torch.testing.assert_close(target[rows], alone, rtol=0, atol=1e-9)


def test_one_field_is_sds():
    vsd = VSD(PerViewIdeal(), TABLE, Together(1))(X, KNOWN, rng=streams(range(6)))
    sds = SDS(PerViewIdeal(), TABLE)(X, KNOWN, rng=streams(range(6)))
    torch.testing.assert_close(vsd.target, sds.target, rtol=0, atol=1e-9)
    assert (vsd.nfe, sds.nfe) == (2, 1)


def test_nothing_is_trained():
    together = Together(2)
    assert together.fit(X, None, streams(range(6)), 0) == together.state_dict() == {}
    together.load_state_dict({})


def test_refuses():
    with pytest.raises(UsageError, match="at least 1 field, got 0"):
        Together(0)
    with pytest.raises(UsageError, match="for each of 4 fields, got 6"):
        Together(4).denoiser(X)
    with pytest.raises(UsageError, match="state of particles must be empty, got a"):
        Together(1).load_state_dict({"a": X})
