"""NERF-1."""

import numpy as np
import torch

from modeseek.generators.nerf.compositing import weights

RNG = np.random.default_rng(0)
DENSITY, LENGTH = RNG.random((5, 12)) * 8, RNG.random((5, 12))


def t64(array):
    return torch.as_tensor(array, dtype=torch.float64)


def test_weights_are_those_of_the_product():
    """NERF-1, not in log space: alpha_i prod_{j<i} (1 - alpha_j)."""
    alpha = 1 - np.exp(-DENSITY * LENGTH)
    through = np.cumprod(np.concatenate([np.ones((5, 1)), 1 - alpha], 1), 1)
    w, behind = weights(t64(DENSITY), t64(LENGTH), torch.zeros(5).double())
    assert np.allclose(w, through[:, :-1] * alpha, atol=1e-14)
    assert np.allclose(behind.exp(), through[:, -1], rtol=1e-12)
    assert np.allclose(w.sum(-1) + behind.exp(), 1, atol=1e-14)


def test_a_ray_in_parts_is_the_ray():
    for stop in (0.0, 1e-2):
        whole, behind = weights(t64(DENSITY), t64(LENGTH), torch.zeros(5).double(), stop)
        ahead, parts = torch.zeros(5).double(), []
        for part in (slice(0, 5), slice(5, 6), slice(6, 12)):
            w, ahead = weights(t64(DENSITY[:, part]), t64(LENGTH[:, part]), ahead, stop)
            parts.append(w)
        assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-15)
        assert torch.allclose(ahead, behind, rtol=1e-13)


def test_stopped_samples_are_empty_and_cost_at_most_the_threshold():
    plain, _ = weights(t64(DENSITY), t64(LENGTH), torch.zeros(5).double())
    w, behind = weights(t64(DENSITY), t64(LENGTH), torch.zeros(5).double(), 0.05)
    ahead = 1 - plain.cumsum(-1) + plain
    assert bool((w[ahead < 0.05] == 0).all())
    assert torch.allclose(w[ahead >= 0.05], plain[ahead >= 0.05])
    assert 0 < float((plain - w).sum(-1).max()) < 0.05
    assert torch.allclose(w.sum(-1) + behind.exp(), torch.ones(5).double())


def test_a_wall_is_no_nan_and_has_a_gradient():
    density = torch.tensor([[0.0, 1e6, 3.0], [1e-12, 1e-12, 1e-12]], requires_grad=True)
    w, behind = weights(density, torch.ones(2, 3), torch.zeros(2))
    assert w[0].tolist() == [0.0, 1.0, 0.0]
    assert np.allclose(w[1].detach(), 1e-12, rtol=1e-5, atol=0)  # 1 - exp would give 0
    (w.sum() + behind.exp().sum()).backward()
    assert bool(density.grad.isfinite().all())
