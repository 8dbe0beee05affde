"""The two protocols: the numbers that their sources publish, in this project's conventions."""

import pytest

from modeseek.compare.config import CompareConfig, Contender
from modeseek.compare.protocols import configure, learning_rate
from modeseek.methods import ESTIMATORS


def configured(method: str, preset=None, **options):
    return configure(CompareConfig(**options), Contender(method, preset), "cat", 5)


@pytest.mark.parametrize("method", ESTIMATORS)
def test_paper2d_is_one_network_and_one_optimiser_for_all(method):
    image = configured(method)
    assert (image.prompts, image.seed, image.method) == (("cat",), 5, method)
    assert (image.generator, image.lr, image.steps) == ("mlp", 1e-2, 400)
    assert learning_rate(CompareConfig(), image) is None


def test_seven_and_a_half_as_each_source_means_it():
    # the paper's 7.5 for sds, sdi and msd is 1 + 7.5 here, vsd's is diffusers'
    assert {m: configured(m).guidance for m in ESTIMATORS} == {"sds": 8.5, "vsd": 7.5, "sdi": 8.5, "msd": 8.5}
    playground = {m: configured(m, protocol="playground2d").guidance for m in ESTIMATORS}
    assert playground == {"sds": 101.0, "vsd": 7.5, "sdi": 8.5, "msd": 8.5}
    assert {configured(m, guidance=4.0).guidance for m in ESTIMATORS} == {4.0}


def test_msd_is_this_projects_own_unless_the_papers_is_asked_for():
    ours, paper = configured("msd"), configured("msd", "paper")
    assert (paper.sampler, paper.sample_steps, paper.refresh_every) == ("exponential_inverted", 32, 1)
    assert (ours.sampler, paper.preset) != (paper.sampler, ours.preset)
    assert all(configured(m).preset == "paper" for m in ("sds", "vsd", "sdi"))


def test_the_playground_moves_raw_latents_with_a_warm_rate():
    config = CompareConfig(protocol="playground2d")
    image = configure(config, Contender("sds"), "cat", 0)
    assert (image.generator, image.steps, image.lr, image.time_low, image.time_high) == (
        "latents",
        1001,
        0.1,
        0.02,
        0.98,
    )
    rate = learning_rate(config, image)
    # threestudio's notebook: 0 at first, its peak at 100, .081 at 500, .028 at 1000
    assert [round(rate(k), 3) for k in (0, 50, 100, 500, 1000)] == [0.0, 0.05, 0.1, 0.081, 0.028]


def test_sdi_makes_the_forty_targets_of_its_notebook():
    for protocol in ("paper2d", "playground2d"):
        image = configured("sdi", protocol=protocol)
        assert image.steps // image.refresh_every == 40
    assert configured("sdi", "paper").refresh_every == 1
    assert configured("sdi", protocol="playground2d").time_low == 0.02


def test_a_short_playground_warms_up_for_a_tenth():
    config = CompareConfig(protocol="playground2d", steps=50)
    rate = learning_rate(config, configure(config, Contender("sds"), "cat", 0))
    assert (rate(0), rate(5)) == (0.0, 0.1)


def test_options_of_a_contender_have_the_last_word():
    contender = Contender("msd", None, (("steps", 7), ("sampler", "exact")), "mine")
    image = configure(CompareConfig(steps=9, refresh_every=3), contender, "cat", 0)
    assert (image.steps, image.sampler, image.refresh_every) == (7, "exact", 3)
    assert configured("sds", steps=9, refresh_every=3).refresh_every == 1
