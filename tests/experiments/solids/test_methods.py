"""The rows: every method is there, and each spends about one evaluation for an optimiser step."""

import pytest
import torch

from modeseek.errors import UnstableError
from modeseek.experiments.solids.methods import CONTROLS, END, METHODS, START, VARIANCE, build
from modeseek.experiments.solids.shapes import solids
from modeseek.experiments.solids.views import TRAINING, Stock
from modeseek.methods import ESTIMATORS, PRODUCT_SAMPLERS
from modeseek.randomness import Streams

STOCK = Stock.of(solids(), TRAINING, 8, 32)


def test_every_method_is_a_row():
    """A new estimator or product sampler needs a row here."""
    assert {m.estimator for m in METHODS} == set(ESTIMATORS)
    assert {m.sampler for m in METHODS if m.sampler} == set(PRODUCT_SAMPLERS)
    assert len({m.name for m in (*METHODS, *CONTROLS)}) == len(METHODS) + len(CONTROLS)


@pytest.mark.parametrize("method", [*METHODS, *CONTROLS], ids=lambda m: m.name)
def test_spends_what_it_may(method):
    """hold steps a call; sdi's calls grow cheaper as its time falls."""
    steps = method.length(960)
    if method.sampler == "summed":
        with pytest.raises(UnstableError, match="diverges"):
            build(method, steps)
        return
    estimator = build(method, steps)
    spent = sum(estimator.nfe(step) for step in range(0, steps, method.hold))
    assert spent == 960 or (method.estimator == "sdi" and 640 < spent < 1280)


def test_all_but_vsd_take_as_many_steps():
    assert {m.length(100) for m in METHODS if m.estimator != "vsd"} == {100}
    assert {m.length(100) for m in METHODS if m.estimator == "vsd"} == {50}


@pytest.mark.parametrize("method", [m for m in METHODS if m.sampler != "summed"], ids=lambda m: m.name)
def test_runs_on_the_pictures_of_views(method):
    rows = 2 * method.fields
    x = torch.full((rows, 3, 32, 32), 0.8)
    estimate = build(method, 40)(
        x, STOCK.pictures[:2].repeat(method.fields, 1, 1, 1, 1), rng=Streams.for_batch(0, rows)
    )
    assert estimate.target.shape == x.shape
    assert float(estimate.grad.abs().max()) > 0


def test_the_numbers_are_the_solids():
    """What the bandwidths and the variance are said to be."""
    apart = torch.cdist(STOCK.pictures.flatten(2), STOCK.pictures.flatten(2))
    away = (STOCK.pictures - STOCK.pictures.mean(1, keepdim=True)).flatten(2)
    assert float(apart.sum() / (8 * 8 * 7)) == pytest.approx(15, abs=1)
    assert float(away.norm(dim=2).mean()) == pytest.approx(10, abs=1)
    along = torch.linalg.svdvals(away).square().mean(0)[:7] / 8
    assert float(along.median()) == pytest.approx(VARIANCE, rel=0.1)
    assert 4 < float(along.min()) < float(along.max()) < 35
    assert 0 < END < START < float(apart[apart > 0].min())
