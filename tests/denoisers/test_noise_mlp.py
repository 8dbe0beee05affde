import pytest
import torch
from closed_forms import POINTS, t64

from modeseek.denoisers.noise_mlp import NoiseMLP
from modeseek.errors import UsageError

X = t64(POINTS)


@pytest.mark.parametrize("sigma_data", [0.5, 2.0])
@pytest.mark.parametrize("sigma", [0.01, 1.0, 50.0])
def test_before_training_it_is_the_denoiser_of_a_gaussian(sigma, sigma_data):
    network = NoiseMLP(sigma_data=sigma_data)
    torch.testing.assert_close(network(X, sigma), X * sigma_data**2 / (sigma_data**2 + sigma**2))


def trained(seed: int = 0) -> NoiseMLP:
    """Its last layer is not zero any more."""
    network = NoiseMLP(seed=seed)
    with torch.no_grad():
        network.weights[-1].normal_(generator=torch.Generator().manual_seed(1))
    return network


def test_each_sample_has_its_level():
    sigma = t64([0.01, 0.1, 0.5, 2.0, 20.0])
    together = trained()(X, sigma)
    apart = torch.cat([trained()(X[i : i + 1], float(sigma[i])) for i in range(5)])
    torch.testing.assert_close(together, apart, rtol=1e-5, atol=1e-6)
    assert together.dtype == torch.float64
    assert trained()(X.float(), 1.0).dtype == torch.float32


def test_the_seed_alone_says_what_it_is():
    before = torch.get_rng_state()
    first, again, other = trained()(X, 1.0), trained()(X, 1.0), trained(seed=1)(X, 1.0)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_depends_on_every_parameter():
    network = trained()
    network(X, 1.0).square().sum().backward()
    assert all(bool(p.grad.any()) for p in network.parameters())


@pytest.mark.parametrize("wrong", [{"dimensions": 0}, {"width": 0}, {"layers": 0}, {"sigma_data": 0.0}])
def test_refuses(wrong):
    with pytest.raises(UsageError, match="must be at least 1 and sigma_data positive"):
        NoiseMLP(**wrong)
