import pytest
import torch
from closed_forms import mixture

from modeseek.densities import planar_set
from modeseek.errors import UsageError
from modeseek.landscape import axis, settle, survey


def test_arrives_at_the_zero_of_a_quadratic():
    """LAND-4: one Newton step once it is nearer than the longest step."""
    a = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
    centre = torch.tensor([0.3, -0.2], dtype=torch.float64)
    rest = settle(lambda x: (x - centre) @ a, torch.tensor([[0.5, 0.5], [-1.0, 0.0]]), 0.1)
    torch.testing.assert_close(rest, centre[None], rtol=0, atol=1e-12)


def test_a_saddle_and_a_valley_are_left():
    """From a saddle of ``x^4/4 - x^2/2 + y^2/2`` to a minimum; an endless valley has none."""

    def saddle(x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x[:, 0] ** 3 - x[:, 0], x[:, 1]], 1)

    rest = settle(saddle, torch.tensor([[1e-3, 0.0]]), 0.1)
    torch.testing.assert_close(rest, torch.tensor([[1.0, 0.0]], dtype=torch.float64), rtol=0, atol=1e-9)
    assert len(settle(lambda x: torch.stack([0.1 + 0 * x[:, 0], x[:, 1]], 1), torch.zeros(1, 2), 0.1, steps=50)) == 0


def test_a_rotation_on_top_does_not_move_the_zero():
    """Only the symmetric part says what is a minimum."""
    a = torch.tensor([[1.0, 0.7], [-0.7, 1.0]], dtype=torch.float64)
    rest = settle(lambda x: x @ a, torch.tensor([[0.4, 0.1]]), 0.1)
    torch.testing.assert_close(rest, torch.zeros(1, 2, dtype=torch.float64), rtol=0, atol=1e-5)


def test_false_minima_of_ridges_go():
    """The fractal at h = 0.05 has two modes; a grid sees more, since its ridges run between the nodes."""
    density, h = planar_set("fractal").density, 0.05
    nodes = axis(-1.5, 1.5, 81)
    found = survey(lambda x: x - density.posterior_mean(x, h), nodes, nodes)
    expected = density.modes(h).points
    assert len(found.minima) == len(expected) == 2
    assert float(torch.cdist(found.minima, expected).amin(1).max()) < 1e-6


def test_all_modes_of_a_mixture_are_kept():
    density = mixture(torch.float64)
    nodes = axis(-2.0, 2.0, 81)
    found = survey(lambda x: x - density.posterior_mean(x, 0.1), nodes, nodes).minima
    expected = density.modes(0.1).points
    assert len(found) == len(expected)
    assert float(torch.cdist(expected, found).amin(1).max()) < 1e-6


@pytest.mark.parametrize(
    ("starts", "length"), [(torch.zeros(2), 0.1), (torch.zeros(1, 3), 0.1), (torch.zeros(1, 2), 0.0)]
)
def test_refuses(starts, length):
    with pytest.raises(UsageError, match="starts must be"):
        settle(lambda x: x, starts, length)
