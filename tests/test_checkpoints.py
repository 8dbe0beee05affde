"""What a checkpoint holds: with it a loop goes on as if it had never stopped, and nothing else is taken for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from closed_forms import POINTS, mixture, t64
from torch import Tensor, nn

from modeseek.checkpoints import misfit, pack, unpack
from modeseek.denoisers import MixtureDenoiser
from modeseek.denoisers.noise_mlp import NoiseMLP
from modeseek.distillation import Progress, distill
from modeseek.errors import RunError
from modeseek.estimators import SDI, SDS, VSD, Estimator, Particles, Trained
from modeseek.generators import Points
from modeseek.noise import NoiseTable
from modeseek.randomness import Streams
from modeseek.runs import Run
from modeseek.schedules import Anneal

TABLE = NoiseTable.karras(100, 0.05, 2.0)
MODEL = MixtureDenoiser(mixture())
State = tuple[dict[str, Tensor], dict[str, Any]]


def trained() -> VSD:
    network = NoiseMLP(width=8, layers=1)
    return VSD(MODEL, TABLE, Trained(network, network, TABLE, lr=0.01, steps=2))


ESTIMATORS: dict[str, Callable[[], Estimator]] = {
    "sds": lambda: SDS(MODEL, TABLE),
    "sdi": lambda: SDI(MODEL, TABLE, inverse=MODEL, time=Anneal(0.98, 0.25, 9)),
    "vsd, particles": lambda: VSD(MODEL, TABLE, Particles()),
    "vsd, trained": trained,
}
OPTIMISERS: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "adam": lambda m: torch.optim.Adam(m.parameters(), lr=0.1),
    "sgd": lambda m: torch.optim.SGD(m.parameters(), lr=0.1),
}


def parts(name: str, optimiser: str = "adam") -> tuple[nn.Module, torch.optim.Optimizer, Estimator]:
    points = Points(t64(POINTS))
    return points, OPTIMISERS[optimiser](points), ESTIMATORS[name]()


def go(built: tuple[nn.Module, torch.optim.Optimizer, Estimator], progress: Progress, steps: int, every: int) -> None:
    points, optimiser, estimator = built
    rng = Streams.for_batch(0, len(POINTS))
    distill(points, estimator, steps=steps, rng=rng, optimiser=optimiser, refresh_every=every, progress=progress)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_goes_on_bit_for_bit(name: str, optimiser: str, every: int, tmp_path: Path) -> None:
    """Through the disk, at every step."""
    whole, run = parts(name, optimiser), Run.create(tmp_path / "run", "")
    go(whole, Progress(), 9, every)
    for cut in (0, 3, 8):
        stopped, progress = parts(name, optimiser), Progress()
        if cut:
            go(stopped, progress, cut, every)
        tensors, state = pack(stopped[0], stopped[1], progress, stopped[2])
        run.save(progress.step, tensors, state)
        found = run.load()
        assert found is not None
        again = parts(name, optimiser)
        back = unpack(*found, *again, source=run.path)
        assert (back.step, back.nfe, back.info) == (progress.step, progress.nfe, progress.info)
        go(again, back, 9, every)
        assert torch.equal(whole[0](), again[0]())
        end, expected = pack(again[0], again[1], back, again[2]), pack(whole[0], whole[1], back, whole[2])
        assert end[0].keys() == expected[0].keys()
        assert all(torch.equal(v, end[0][k]) for k, v in expected[0].items())


def stopped(name: str = "vsd, trained") -> State:
    built, progress = parts(name), Progress()
    go(built, progress, 3, 1)
    return pack(built[0], built[1], progress, built[2])


def test_what_it_holds() -> None:
    tensors, state = stopped()
    assert {k.split(".")[0] for k in tensors} == {"picture", "optimiser", "estimator", "target"}
    assert {"picture.x", "optimiser.0.exp_avg", "estimator.network.weights.0"} <= tensors.keys()
    assert json.loads(json.dumps(state)) == state
    assert (state["step"], state["nfe"], state["moments"]) == (3, 6, [0])
    assert {k.split(".")[0] for k in stopped("sds")[0]} == {"picture", "optimiser", "target"}


def test_one_of_an_older_version_is_read() -> None:
    """Version 0.1.0 did not say which parameters have moments, and knew no estimators that train."""
    tensors, state = stopped("sds")
    del state["moments"]
    assert unpack(tensors, state, *parts("sds"), source="here").step == 3
    tensors = {k: v for k, v in tensors.items() if not k.startswith("optimiser.")}
    with pytest.raises(RunError, match="not that of these parameters"):
        unpack(tensors, state, *parts("sds"), source="here")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t, s: t.pop("picture.x"), "picture|Missing key"),
        (lambda t, s: t.update({"picture.x": torch.zeros(1)}), "size mismatch"),
        (lambda t, s: [t.pop(k) for k in list(t) if k.startswith("optimiser.")], "not that of these parameters"),
        (lambda t, s: t.update({"optimiser.x": torch.zeros(1)}), "invalid literal"),
        (lambda t, s: [t.pop(k) for k in list(t) if k.startswith("estimator.network")], "this auxiliary network"),
        (lambda t, s: t.update({"estimator.optimiser.99.step": torch.zeros(1)}), "this auxiliary network"),
        (lambda t, s: t.pop("target"), "target"),
        (lambda t, s: s.pop("nfe"), "nfe"),
        (lambda t, s: s.pop("threads"), "threads"),
        (lambda t, s: s.update(info=3), "not iterable"),
    ],
)
def test_refuses_another_loops(change: Callable[..., None], says: str) -> None:
    tensors, state = stopped()
    change(tensors, state)
    with pytest.raises(RunError, match=r"the checkpoint in here must fit its config\.yaml; it does not") as caught:
        unpack(tensors, state, *parts("vsd, trained"), source="here")
    assert "\n" not in str(caught.value)
    assert any(word in str(caught.value) for word in says.split("|")), caught.value


def test_an_estimator_that_trains_nothing_is_told_nothing() -> None:
    tensors, state = stopped()
    assert unpack(tensors, state, *parts("sds"), source="here").step == 3
    with pytest.raises(RunError, match="the state of particles must be empty"):
        unpack(tensors, state, *parts("vsd, particles"), source="here")


def test_another_number_of_threads_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    tensors, state = stopped("sds")
    unpack(tensors, state, *parts("sds"), source="here")
    assert capsys.readouterr().err == ""
    unpack(tensors, {**state, "threads": 7}, *parts("sds"), source="here")
    assert "note: the run used 7 threads, this one 1: the result will be the same" in capsys.readouterr().err


def test_misfit() -> None:
    assert str(misfit(Path("a/b"), "why")) == "the checkpoint in a/b must fit its config.yaml; it does not (why)"
