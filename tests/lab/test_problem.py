"""The density that is sought and the denoiser of it, against the mixtures that they are made of."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from small_lab import make_small, quick, small
from torch import Tensor

from modeseek.denoisers import IdealDenoiser, PerClass
from modeseek.denoisers.mlp_training import MAIN, SMALL
from modeseek.densities import planar_set
from modeseek.errors import UsageError
from modeseek.lab.points import moved
from modeseek.lab.problem import DATA, FRESH, REFERENCE, Problem, cache, generator

DENOISERS = ["exact", "ideal", "learned"]


@pytest.fixture(autouse=True)
def networks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    make_small(monkeypatch, tmp_path / "cache")


def of(name: str = "eight_gaussians", **options: Any) -> Problem:
    return Problem.of(small(name, **options))


def z(n: int = 50) -> Tensor:
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def ideal_of(name: str, label: int | None, seed: int = 0) -> IdealDenoiser:
    """The ideal denoiser of 200 points, as a run draws them."""
    return IdealDenoiser(planar_set(name).of_class(label).sample(200, generator(seed, DATA)))


# -- the density -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "label"), [("fractal", None), ("moons", None), ("spiral", 1)])
def test_variance_is_that_of_a_sample(name: str, label: int | None) -> None:
    p = of(name, label=label, denoiser="exact")
    x = p.sample(20_000, 5)
    squares = (x - x.mean(0)).square().mean(1)
    assert abs(float(squares.mean()) - p.variance) < 5 * float(squares.std()) / math.sqrt(len(x))


@pytest.mark.parametrize(
    ("name", "label", "target"),
    [("fractal", None, 0), ("fractal", 1, 1), ("moons", None, None), ("moons", 1, 1), ("swiss_roll", None, None)],
)
def test_which_class_is_sought(name: str, label: int | None, target: int | None) -> None:
    p, planar = of(name, label=label, denoiser="exact"), planar_set(name)
    assert (p.cond.tolist() if p.cond is not None else None) == (None if target is None else [target])
    assert torch.equal(p.density.log_prob(z()), planar.of_class(target).log_prob(z()))
    assert p.density.fingerprint == planar.of_class(target).fingerprint


def test_samples_by_seed_and_purpose() -> None:
    p = of(denoiser="exact")
    assert torch.equal(p.sample(9, 1), p.sample(9, 1, REFERENCE))
    drawn = [p.sample(9, seed, step) for seed in (1, 2) for step in (REFERENCE, FRESH, DATA)]
    assert len({x.numpy().tobytes() for x in drawn}) == 6


def test_a_picture_file(tmp_path: Path) -> None:
    """A dark disc on white: its mass is where the disc is."""
    grey = torch.full((30, 30), 255, dtype=torch.uint8)
    grey[5:10, 20:25] = 0  # up and to the right
    Image.fromarray(grey.numpy()).save(tmp_path / "spot.png")
    p = of(str(tmp_path / "spot.png"), denoiser="exact")
    assert (p.planar.name, p.cond) == ("spot", None)
    assert p.variance == pytest.approx(0.25)
    assert len(p.density.means) == 25


# -- the denoisers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "label"), [("eight_gaussians", None), ("fractal", None), ("moons", 1)])
def test_exact_is_the_posterior_mean_of_the_class(name: str, label: int | None) -> None:
    p = of(name, label=label, denoiser="exact")
    expected = planar_set(name).of_class(0 if name == "fractal" else label).posterior_mean(z(), 0.3)
    torch.testing.assert_close(p.denoiser(z(), 0.3, p.cond), expected, rtol=1e-10, atol=1e-12)


def data_of(p: Problem) -> Tensor:
    inner = p.plain.classes[p.planar.target] if isinstance(p.plain, PerClass) else p.plain  # type: ignore[index]
    assert isinstance(inner, IdealDenoiser)
    return inner.points


@pytest.mark.parametrize("name", ["eight_gaussians", "fractal"])
def test_ideal_is_of_a_data_set_that_the_seed_decides(name: str) -> None:
    first, again, other = (data_of(of(name, seed=seed)) for seed in (0, 0, 1))
    assert first.shape == (200, 2)
    assert first.dtype == torch.float64
    assert torch.equal(first, again)
    assert not torch.isin(first[:, 0], other[:, 0]).any()
    p = of(name)
    torch.testing.assert_close(p.denoiser(z(), 0.3, p.cond), ideal_of(name, p.planar.target)(z(), 0.3))


def test_data_are_not_the_reference() -> None:
    p = of()
    for step in (REFERENCE, FRESH):  # as many: another number would be drawn otherwise from the same stream
        assert not torch.isin(data_of(p)[:, 0], p.sample(200, 0, step)[:, 0]).any()


def test_learned_is_the_network_of_the_class(tmp_path: Path) -> None:
    p = of("fractal", denoiser="learned")
    expected = quick(planar_set("fractal").of_class(0), MAIN, tmp_path / "cache")
    assert torch.equal(p.denoiser(z(), 0.3, p.cond), expected(z(), 0.3))
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_where_networks_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache() == tmp_path / "cache"
    monkeypatch.setenv("MODESEEK_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache() == tmp_path / "modeseek"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert cache() == Path("/home/someone/.cache/modeseek")


@pytest.mark.parametrize("denoiser", DENOISERS)
def test_largest_level(denoiser: Any) -> None:
    """The one that a run is told, or what the network was trained for."""
    p = of(denoiser=denoiser, sigma_max=3.0)
    assert p.denoiser.sigma_max == (5.0 if denoiser == "learned" else 3.0)


# -- guidance ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("denoiser", DENOISERS)
@pytest.mark.parametrize("guidance", ["cfg", "autoguidance"])
def test_scale_one_is_no_guidance_bit_for_bit(denoiser: Any, guidance: Any) -> None:
    options = {"label": 1, "denoiser": denoiser, "steps": 3}
    plain, guided = (small("moons", **options, **more) for more in ({}, {"guidance": guidance, "guidance_scale": 1.0}))
    assert torch.equal(moved(plain, Problem.of(plain)), moved(guided, Problem.of(guided)))
    away = small("moons", **options, guidance=guidance)
    assert not torch.equal(moved(plain, Problem.of(plain)), moved(away, Problem.of(away)))


def parts(denoiser: str, label: int | None, folder: Path) -> Any:
    """The denoiser of the moons' class, None for both, made by hand."""
    mixture = planar_set("moons").of_class(label)
    if denoiser == "exact":
        return mixture.posterior_mean
    return ideal_of("moons", label) if denoiser == "ideal" else quick(mixture, MAIN, folder)


@pytest.mark.parametrize("denoiser", DENOISERS)
def test_cfg_leads_towards_the_class_and_away_from_all(denoiser: Any, tmp_path: Path) -> None:
    """MSD-13."""
    p = of("moons", label=1, denoiser=denoiser, guidance="cfg", guidance_scale=3.0)
    one, both = (parts(denoiser, label, tmp_path)(z(), 0.4) for label in (1, None))
    torch.testing.assert_close(p.denoiser(z(), 0.4, p.cond), both + 3 * (one - both))
    torch.testing.assert_close(p.plain(z(), 0.4, p.cond), one)
    assert p.denoiser.cost(0.4) == 2


@pytest.mark.parametrize("denoiser", DENOISERS)
@pytest.mark.parametrize("label", [None, 1])
def test_autoguidance_leads_away_from_the_small_network(denoiser: Any, label: int | None, tmp_path: Path) -> None:
    """CFG-3."""
    p = of("moons", label=label, denoiser=denoiser, guidance="autoguidance", guidance_scale=2.0)
    good = parts(denoiser, label, tmp_path)(z(), 0.4)
    bad = quick(planar_set("moons").of_class(label), SMALL, tmp_path)(z(), 0.4)
    torch.testing.assert_close(p.denoiser(z(), 0.4, p.cond), bad + 2 * (good - bad))
    assert float((good - bad).abs().max()) > 1e-3


@pytest.mark.parametrize("guidance", ["cfg", "autoguidance"])
def test_guidance_in_an_interval(guidance: Any) -> None:
    """CFG-2."""
    options = {"label": 0, "guidance": guidance, "denoiser": "exact"}
    p = of("moons", **options, guidance_low=0.2, guidance_high=1.0)
    guided, plain = of("moons", **options), of("moons", label=0, denoiser="exact")
    for sigma, expected in ((0.1, plain), (0.2, guided), (0.5, guided), (1.0, guided), (1.1, plain)):
        assert torch.equal(p.denoiser(z(), sigma, p.cond), expected.denoiser(z(), sigma, p.cond))
    assert (p.denoiser.cost(0.1), p.denoiser.cost(0.5)) == (1, 2)


# -- refused -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("eight_gaussians", {"guidance": "cfg"}, "guidance cfg needs a class: give --label .* eight_gaussians seeks"),
        ("moons", {"guidance": "cfg"}, "guidance cfg needs a class: give --label .* moons seeks all"),
        ("moons", {"label": 2}, "the class of moons must be None or below 2, got 2"),
        ("moons", {"label": -1}, "the class of moons must be None or below 2, got -1"),
        ("swiss_roll", {"label": 0}, "the class of swiss_roll must be None or below 0, got 0"),
        ("eigth_gaussians", {}, "got 'eigth_gaussians'. Did you mean 'eight_gaussians'"),
        ("Swiss-Roll", {}, "Did you mean 'swiss_roll'"),
        ("astronut", {}, "Did you mean 'astronaut'"),
        ("nowhere/to/be.seen", {}, "must be one of fractal, .*; got 'nowhere/to/be.seen'"),
    ],
)
def test_refused(name: str, options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        of(name, denoiser="learned", **options)
    assert not (tmp_path / "cache").exists()  # nothing was trained for it
