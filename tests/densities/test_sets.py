import pytest
import torch

from modeseek.densities import GaussianMixture, PlanarSet, planar_set
from modeseek.densities.sets import BUILDERS
from modeseek.errors import UsageError
from modeseek.planar import SETS

ROUND = [name for name in SETS if name != "fractal"]


def moments(m: GaussianMixture) -> tuple[torch.Tensor, torch.Tensor]:
    w = m.log_weights.exp()
    mean = w @ m.means
    return mean, w @ ((m.means - mean) ** 2 + m.covariances.diagonal(dim1=-2, dim2=-1))


def density_at(name: str, *points: tuple[float, float]) -> list[float]:
    return planar_set(name).mixture.log_prob(torch.tensor(points, dtype=torch.float64)).exp().tolist()


def test_the_table_and_the_builders_agree():
    assert list(BUILDERS) == list(SETS)


@pytest.mark.parametrize("name", SETS)
def test_every_set_has_the_scale_of_the_laboratory(name):
    s = planar_set(name)
    assert s.name == name
    mean, variance = moments(s.mixture)
    assert float(variance.mean().sqrt()) == pytest.approx(0.5, abs=1e-3 if name == "fractal" else 1e-12)
    assert mean.abs().max() < (0.05 if name == "fractal" else 1e-12)
    drawn = s.mixture.sample(20_000, torch.Generator().manual_seed(0))
    assert (drawn.abs() < 1.5).float().mean() > 0.9999
    again = planar_set(name)
    assert torch.equal(again.mixture.means, s.mixture.means), "nothing is drawn"


@pytest.mark.parametrize("name", SETS)
def test_float32_agrees(name):
    exact, single = planar_set(name), planar_set(name, torch.float32)
    assert single.mixture.means.dtype == torch.float32
    x = exact.density.sample(200, torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        single.density.log_prob(x.float(), 0.02).double(), exact.density.log_prob(x, 0.02), rtol=1e-4, atol=1e-3
    )


@pytest.mark.parametrize(
    ("name", "classes", "target"),
    [("fractal", 2, 0), ("spiral", 2, None), ("pinwheel", 5, None), ("moons", 2, None), ("rings", 3, None)],
)
def test_classes_part_the_mixture(name, classes, target):
    s = planar_set(name)
    assert s.target == target
    assert s.classes is not None
    assert s.classes.unique().tolist() == list(range(classes))
    x = s.mixture.means[::37]
    shares = [s.mixture.log_weights[s.classes == k].exp().sum() for k in range(classes)]
    total = sum(share * s.of_class(k).log_prob(x, 0.1).exp() for k, share in enumerate(shares))
    torch.testing.assert_close(total, s.mixture.log_prob(x, 0.1).exp())
    assert s.of_class(None) is s.mixture
    torch.testing.assert_close(s.density.log_prob(x), s.of_class(target).log_prob(x))
    for wrong in (-1, classes):
        with pytest.raises(UsageError, match=f"below {classes}"):
            s.of_class(wrong)


def test_a_set_without_classes_has_none_to_choose():
    s = planar_set("swiss_roll")
    assert s.classes is None
    assert s.density is s.mixture
    with pytest.raises(UsageError, match="None"):
        s.of_class(0)
    assert PlanarSet("mine", s.mixture).target is None


def test_the_checkerboard_is_flat_with_edges():
    """Inside a black square within 10 % of even, a hundredth of that 0.08 outside, nothing in a white one."""
    side = 0.5 * 0.5 / (1 / 3 + 0.45**2 / 256) ** 0.5  # a square's, after scaling: its points are uniform on [-1, 1]
    assert planar_set("checkerboard").mixture.means.abs().max() == pytest.approx(2 * side * 31 / 32, rel=1e-2)
    centre, edge, white = density_at(
        "checkerboard", (0.5 * side, 0.5 * side), (0.5 * side, 2 * side + 0.08), (-0.5 * side, 0.5 * side)
    )
    assert centre == pytest.approx(1 / (8 * side**2), rel=0.1)
    assert edge < 0.01 * centre
    assert white < 1e-6 * centre


def test_strands_are_even():
    """Along a ring the density waves evenly about its mean."""
    angle = torch.linspace(0, 2 * torch.pi, 500, dtype=torch.float64)
    rings = planar_set("rings")
    outer = rings.of_class(2)
    radius = float(outer.means.norm(dim=-1).mean())
    p = outer.log_prob(radius * torch.stack([angle.cos(), angle.sin()], -1))
    assert 0.2 < float((p - p.mean()).abs().max()) < 0.26  # a third less between two Gaussians


@pytest.mark.parametrize(("name", "count"), [("eight_gaussians", 8), ("rings", 74), ("moons", 32), ("spiral", 76)])
def test_modes_can_be_counted(name, count):
    """One a Gaussian at the level where the laboratory ends."""
    modes = planar_set(name).density.modes(0.02)
    assert len(modes.points) == count == len(planar_set(name).mixture.means)
    assert modes.unresolved == 0


def test_unknown_set():
    with pytest.raises(UsageError, match=r"one of fractal, .*Did you mean 'eight_gaussians'"):
        planar_set("8-gaussians")
