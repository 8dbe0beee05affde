import pytest
import torch
from closed_forms import POINTS, Rows, mixture, t64

from modeseek.denoisers import MixtureDenoiser, PerClass
from modeseek.densities import GaussianMixture
from modeseek.errors import UsageError

Z, LABELS = t64(POINTS), torch.tensor([0, 1, 0])
WHOLE = MixtureDenoiser(mixture(), LABELS)


def part(label):
    """The components of one class alone."""
    density, own = mixture(), torch.eq(LABELS, label)
    return MixtureDenoiser(
        GaussianMixture(density.means[own], density.covariances[own], density.log_weights[own].exp())
    )


MODEL = PerClass({0: part(0), 1: part(1)}, MixtureDenoiser(mixture()))


@pytest.mark.parametrize("sigma", [0.4, t64([0.4]), t64([0.1, 0.2, 0.5, 1.0, 5.0])])
@pytest.mark.parametrize("cond", [[0, 1, 0, 1, 1], [1, 1, 1, 1, 1], [0], [1]])
def test_agrees_with_a_model_that_knows_classes(cond, sigma):
    """The whole mixture with classes (MIX-2) gives the same, row by row."""
    cond = torch.tensor(cond)
    torch.testing.assert_close(MODEL(Z, sigma, cond), WHOLE(Z, sigma, cond), rtol=0, atol=1e-13)


def test_none_is_the_unconditional():
    torch.testing.assert_close(MODEL(Z, 0.4), WHOLE(Z, 0.4), rtol=0, atol=0)


def test_each_row_reaches_one_member():
    members = {k: Rows(part(k), 0.1 * k, 9.0 - k) for k in (0, 1)}
    model = PerClass(members)
    model(Z, 0.4, torch.tensor([0, 1, 0, 1, 1]))
    assert {k: m.rows for k, m in members.items()} == {0: 2, 1: 3}
    assert (model.cost(0.4), model.sigma_min, model.sigma_max) == (1, 0.1, 8.0)


def test_refuses():
    with pytest.raises(UsageError, match="at least one"):
        PerClass({})
    with pytest.raises(UsageError, match=r"class of \[0\]: there is no unconditional"):
        PerClass({0: part(0)})(Z, 0.4)
    with pytest.raises(UsageError, match=r"classes \[0, 1\], got \[2\]"):
        MODEL(Z, 0.4, torch.tensor([2]))
    with pytest.raises(UsageError, match="1 or 5 rows, got 2"):
        MODEL(Z, 0.4, torch.tensor([0, 1]))
    with pytest.raises(UsageError, match="class numbers"):
        MODEL(Z, 0.4, torch.tensor([0.5]))
    with pytest.raises(UsageError, match="class numbers"):
        MODEL(Z, 0.4, {"text": torch.tensor([0])})
