import pytest
import torch
from closed_forms import POINTS, t64

from modeseek.denoisers import MLPDenoiser
from modeseek.denoisers.mlp import LogDensityMLP, denoising_loss, preconditioning
from modeseek.errors import UsageError

LEVELS = t64([0.002, 0.05, 0.3, 1.0, 5.0])


def network(dtype=torch.float64, seed=0, dim=2):
    """Random weights; the gain is large, so that the network's part shows."""
    made = LogDensityMLP(16, 4, dim, rng=torch.Generator().manual_seed(seed)).to(dtype)
    made.gain.data.fill_(1.0)
    return made


def test_gradient_is_that_of_autograd():
    """MLP-1: the written-out input gradient."""
    net, u = network(), t64(POINTS).requires_grad_()
    value, gradient = net(u, LEVELS.log() / 4)
    torch.testing.assert_close(gradient, torch.autograd.grad(value.sum(), u)[0], rtol=1e-12, atol=1e-12)


def test_training_gradient_by_finite_differences():
    """MLP-2: of the loss, that is through the input gradient, in every parameter and in the data."""
    net = network()
    g = torch.Generator().manual_seed(0)
    x, eps = (torch.randn(5, 2, generator=g, dtype=torch.float64) for _ in range(2))
    names, values = zip(*net.named_parameters())

    def loss(x, *parameters):
        class Same:
            def __call__(self, *arguments):
                return torch.func.functional_call(net, dict(zip(names, parameters)), arguments)

        return denoising_loss(Same(), x, LEVELS.clamp(min=0.1), eps)

    assert torch.autograd.gradcheck(loss, (x.requires_grad_(), *values), rtol=1e-4, atol=1e-6)


def test_score_is_the_gradient_of_the_log_density():
    """MLP-1: Tweedie, D = z + sigma^2 grad log p, at every level."""
    denoiser, z = MLPDenoiser(network()), t64(POINTS).requires_grad_()
    for sigma in (LEVELS, *LEVELS.tolist()):
        gradient = torch.autograd.grad(denoiser.log_density(z, sigma).sum(), z)[0]
        s2 = torch.as_tensor(sigma, dtype=torch.float64).reshape(-1, 1) ** 2
        torch.testing.assert_close(denoiser(z, sigma), z + s2 * gradient, rtol=1e-10, atol=1e-10)


def test_preconditioning_has_unit_variance():
    """MLP-1: for data of standard deviation SIGMA_DATA the network's target has variance 1, at every level."""
    g = torch.Generator().manual_seed(0)
    n = 200_000
    x = 0.5 * torch.randn(n, generator=g, dtype=torch.float64)
    for sigma in (0.01, 0.5, 5.0):
        z = x + sigma * torch.randn(n, generator=g, dtype=torch.float64)
        c_skip, c_out = preconditioning(t64(sigma))
        target = ((x - c_skip * z) / c_out).square()
        assert abs(float(target.mean()) - 1) < 5 * float(target.std()) / n**0.5


def test_loss_is_the_denoisers_error():
    """MLP-2: the formula with D of the denoiser itself."""
    net, g = network(), torch.Generator().manual_seed(0)
    x, eps = (torch.randn(5, 2, generator=g, dtype=torch.float64) for _ in range(2))
    x0 = MLPDenoiser(net)(x + LEVELS[:, None] * eps, LEVELS)
    expected = ((x0 - x) / preconditioning(LEVELS[:, None])[1]).square().sum(1).mean()
    torch.testing.assert_close(denoising_loss(net, x, LEVELS, eps), expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_type_of_z_in_and_out(dtype):
    z = t64(POINTS)
    exact, rounded = MLPDenoiser(network()), MLPDenoiser(network(torch.float32))
    x0 = rounded(z.to(dtype), LEVELS.to(dtype))
    assert x0.dtype == dtype
    torch.testing.assert_close(x0.double(), exact(z, LEVELS), rtol=1e-4, atol=1e-5)


def test_works_without_autograd():
    """MLP-1: the score needs no graph, so the mode does not matter."""
    denoiser, z = MLPDenoiser(network()), t64(POINTS)
    with_graph = denoiser(z, 0.3)
    with torch.inference_mode():
        assert torch.equal(denoiser(z, 0.3), with_graph)


def test_a_row_does_not_depend_on_its_batch():
    denoiser, z = MLPDenoiser(network()), t64(POINTS)
    torch.testing.assert_close(denoiser(z[2:3], LEVELS[2:3]), denoiser(z, LEVELS)[2:3], rtol=1e-12, atol=1e-12)


def test_below_the_smallest_level_the_answer_is_that_at_it():
    denoiser, z = MLPDenoiser(network()), t64(POINTS)
    assert (denoiser.sigma_min, denoiser.sigma_max, denoiser.cost(1.0)) == (0.002, 5.0, 1)
    assert torch.equal(denoiser(z, 1e-4), denoiser(z, 0.002))


def test_only_directions_of_weights_count():
    """MLP-1."""
    net = network()
    before = net(t64(POINTS), LEVELS)
    for w in (*net.hidden, net.out):
        w.data.mul_(3.0)
    torch.testing.assert_close(net(t64(POINTS), LEVELS), before, rtol=1e-12, atol=1e-12)
    net.normalise()
    assert all(torch.allclose(w.norm(dim=1), t64(1.0)) for w in (*net.hidden, net.out))


def test_another_dimension():
    z = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert MLPDenoiser(network(dim=3))(z, 0.2).shape == (4, 3)


def test_refuses_a_condition():
    with pytest.raises(UsageError, match="cond must be None"):
        MLPDenoiser(network())(t64(POINTS), 0.3, torch.zeros(5))
