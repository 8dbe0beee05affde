"""Even pieces, and NERF-2."""

import numpy as np
import torch

from modeseek.generators.nerf.sampling import pieces, refine, within
from modeseek.randomness import Streams


def t64(*values):
    return torch.tensor([values], dtype=torch.float64)


def test_pieces_are_even_and_samples_are_inside_of_them():
    edges = pieces(t64(2.0)[0], t64(4.0)[0], 4)
    assert edges.tolist() == [[2.0, 2.5, 3.0, 3.5, 4.0]]
    assert within(edges, None).tolist() == [[2.25, 2.75, 3.25, 3.75]]
    assert within(edges, t64(0.0, 0.5, 0.25, 0.75)).tolist() == [[2.0, 2.75, 3.125, 3.875]]


def test_new_distances_are_quantiles_of_the_weights():
    """NERF-2 against NumPy's inverse of the cumulative sum."""
    rng = np.random.default_rng(0)
    edges, weights = np.sort(rng.random(9)) + 2, rng.random(8)
    weights[3] = 0.0
    share = np.concatenate([[0], np.cumsum(weights)]) / weights.sum()
    wanted = np.interp((np.arange(20) + 0.3) / 20, share, edges)
    out = refine(t64(*edges), t64(*weights), 20, t64(0.3)[0], floor=0.0)[0].numpy()
    assert np.allclose(out, np.sort(np.concatenate([edges, wanted])), atol=1e-12)


def test_their_histogram_is_that_of_the_weights():
    """NERF-2: over random offsets each piece receives its share."""
    weights, more, rays = t64(1.0, 0.0, 5.0, 2.0), 8, 4000
    edges = pieces(torch.zeros(rays, dtype=torch.float64), torch.ones(rays, dtype=torch.float64), 4)
    offset = Streams(0).uniform((1, rays))[0].double()
    out = refine(edges, weights.expand(rays, 4), more, offset, floor=0.0)
    counts = torch.histc(out.flatten(), 4, 0, 1) - rays * torch.tensor([1, 1, 1, 2])  # less the edges
    assert torch.allclose(counts / (rays * more), weights[0] / 8, atol=1e-3)


def test_a_ray_that_met_nothing_is_cut_evenly():
    out = refine(pieces(t64(2.0)[0], t64(4.0)[0], 2), t64(0.0, 0.0), 4)
    assert torch.allclose(out, t64(2.0, 2.25, 2.75, 3.0, 3.25, 3.75, 4.0), atol=1e-12)


def test_edges_rise_and_a_missed_ray_stays_at_0():
    edges = pieces(t64(0.0)[0], t64(0.0)[0], 3)
    out = refine(edges, t64(0.0, 0.0, 0.0), 5)
    assert float(out.abs().max()) == 0.0
    rng = torch.Generator().manual_seed(0)
    weights = torch.rand(50, 16, generator=rng) ** 8
    out = refine(pieces(torch.ones(50), 2 * torch.ones(50), 16), weights, 24, torch.rand(50, generator=rng))
    assert bool((out.diff(dim=-1) >= 0).all())
    assert out.shape == (50, 41)
    assert float(out.min()) == 1.0
    assert float(out.max()) == 2.0
