import subprocess
import sys

import numpy as np
import pytest
import torch
from closed_forms import t64

from modeseek.densities import attention
from modeseek.densities.attention import attend
from modeseek.errors import UsageError

SIGMAS = (0.002, 0.01, 0.1, 1.0, 5.0)


@pytest.fixture(params=["fused", "chunked"])
def path(request, monkeypatch):
    """Both ways of computing it; the second is what other devices, or a torch without the private kernel, take."""
    if request.param == "chunked":
        monkeypatch.setattr(attention, "FUSED", False)
    return request.param


def oracle(z, sigma, points, weights=None):
    """Differences in 80-bit floats, NumPy."""
    z, y = np.asarray(z, np.longdouble), np.asarray(points, np.longdouble)
    s = np.broadcast_to(np.asarray(sigma, np.longdouble), len(z))
    w = np.ones(len(y), np.longdouble) if weights is None else np.asarray(weights, np.longdouble)
    logits = np.log(w / w.sum()) - ((z[:, None] - y) ** 2).sum(-1) / (2 * s[:, None] ** 2)
    top = logits.max(1, keepdims=True)
    e = np.exp(logits - top)
    mean = (e / e.sum(1, keepdims=True)) @ y
    return mean, top[:, 0] + np.log(e.sum(1)) - z.shape[1] * (np.log(s) + np.log(2 * np.longdouble(np.pi)) / 2)


def data(n=700, dim=2, offset=0.0, seed=0):
    """Points of about unit spread; queries near the points at every level, and away from them."""
    g = torch.Generator().manual_seed(seed)
    y = 0.5 * torch.randn(n, dim, generator=g, dtype=torch.float64) + offset
    near = [y[:60] + s * torch.randn(60, dim, generator=g, dtype=torch.float64) for s in SIGMAS]
    far = offset + 3 * torch.rand(200, dim, generator=g, dtype=torch.float64) - 1.5
    return torch.cat([*near, far]), y


def assert_exact(z, sigma, y, weights=None, atol=1e-9):
    mean, log_p = attend(z, sigma, y, None if weights is None else weights.log())
    expected_mean, expected_log_p = oracle(z, sigma, y, weights)
    np.testing.assert_allclose(mean.numpy(), expected_mean.astype(float), rtol=0, atol=atol)
    np.testing.assert_allclose(log_p.numpy(), expected_log_p.astype(float), rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("offset", [0.0, 10.0])
@pytest.mark.parametrize("sigma", SIGMAS)
def test_exact_at_every_level(path, sigma, offset):
    """MSD-16."""
    z, y = data(offset=offset)
    assert_exact(z, sigma, y)


def test_each_row_its_own_level(path):
    """MSD-16."""
    z, y = data()
    assert_exact(z, torch.logspace(-2.69, 0.7, len(z), dtype=torch.float64), y)


def test_weights(path):
    """MSD-16: over ten decades; only their ratios count."""
    z, y = data()
    w = torch.logspace(-10, 0, len(y), dtype=torch.float64)
    assert_exact(z, 0.05, y, w)
    torch.testing.assert_close(attend(z, 0.05, y, w.log()), attend(z, 0.05, y, w.log() + 700.0), rtol=0, atol=1e-9)


@pytest.mark.parametrize(("n", "dim"), [(1, 2), (3, 1), (40, 784)])
def test_any_shape(path, n, dim):
    """MSD-16."""
    g = torch.Generator().manual_seed(1)
    y = torch.randn(n, dim, generator=g, dtype=torch.float64)
    assert_exact(y[:1] + torch.randn(7, dim, generator=g, dtype=torch.float64), 1.3, y)


def test_both_ways_agree_on_many_blocks(monkeypatch):
    """MSD-16."""
    z, y = data()
    fused = attend(z, 0.03, y)
    monkeypatch.setattr(attention, "FUSED", False)
    monkeypatch.setattr(attention, "CHUNK", 7 * y.numel())  # 500 rows are not a multiple of 7
    torch.testing.assert_close(attend(z, 0.03, y), fused, rtol=0, atol=1e-9)


def test_the_kernel_is_there():
    """The installed torch has it: without this every other test would pass on the slow path."""
    assert attention.FUSED


def test_no_weight_matrix():
    """MSD-16: 3e4 x 5e3 weights are 1.2 GB; a fresh process grows by less than a tenth of it, on both paths."""
    code = """
import resource, torch
from modeseek.densities import attention
torch.set_num_threads(1)
g = torch.Generator().manual_seed(0)
z, y = (torch.randn(n, 2, generator=g, dtype=torch.float64) for n in (30_000, 5_000))
attention.attend(z[:10], 0.1, y)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
attention.attend(z, 0.1, y)
attention.FUSED = False
attention.attend(z[:3000], 0.1, y)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB on Linux
    assert int(done.stdout) * unit < 110e6


def test_far_away_the_nearest_point_answers(path):
    """MSD-16: 1e6 from the data, 5e8 standard deviations."""
    y = t64([[0.5, 0.0], [-0.5, 0.0], [0.0, 0.3]])
    z = 1e6 * t64([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    for sigma in (0.002, 0.2):
        mean, log_p = attend(z, sigma, y)
        torch.testing.assert_close(mean, y, rtol=0, atol=1e-9)
        expected = -((z - y) ** 2).sum(1) / (2 * sigma**2) - 2 * np.log(sigma) - np.log(6 * np.pi)
        torch.testing.assert_close(log_p, expected, rtol=1e-12, atol=0)


def test_computes_in_float64_whatever_the_type(path):
    """MSD-16: float32 in and out, off-centre, sigma 0.002, where float32 inside would be off by the shift itself."""
    z, y = (t.float() for t in data(offset=10.0))
    mean, log_p = attend(z, 0.002, y)
    expected, expected_log_p = oracle(z.double(), 0.002, y.double())
    assert (mean.dtype, log_p.dtype) == (torch.float32, torch.float32)
    np.testing.assert_allclose(mean.numpy(), expected.astype(float), rtol=1e-6)
    np.testing.assert_allclose(log_p.numpy(), expected_log_p.astype(float), rtol=1e-6)


def test_a_row_does_not_depend_on_its_batch(path):
    z, y = data()
    batch = attend(z, 0.05, y)
    torch.testing.assert_close(attend(z[7:8], 0.05, y), (batch[0][7:8], batch[1][7:8]), rtol=0, atol=1e-12)


def test_nan_in_one_query_stays_there(path):
    z, y = data()
    dirty = z.clone()
    dirty[3, 0] = np.nan
    mean, log_p = attend(dirty, 0.05, y)
    assert bool(mean[3].isnan().any())
    assert bool(log_p[3].isnan())
    kept = torch.arange(len(z)) != 3
    torch.testing.assert_close((mean[kept], log_p[kept]), tuple(t[kept] for t in attend(z, 0.05, y)))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"points": t64([[0.0, np.nan]])}, "points must be finite, got 1"),
        ({"points": t64([[0.0, np.inf]])}, "points must be finite"),
        ({"points": t64([[0.0, 0.0, 0.0]])}, "must be \\(B, D\\)"),
        ({"points": t64(np.zeros((0, 2)))}, "must be \\(B, D\\)"),
        ({"sigma": 0.0}, "sigma must be positive, got 0"),
        ({"sigma": -1.0}, "sigma must be positive"),
        ({"sigma": float("nan")}, "sigma must be positive"),
        ({"sigma": t64([0.1, 0.0, 0.1])}, "sigma must be positive"),
        ({"log_weights": t64([0.0])}, "one for each point"),
        ({"log_weights": t64([0.0, -np.inf])}, "log_weights must be finite"),
    ],
)
def test_refuses(change, says):
    arguments = {"z": torch.zeros(3, 2).double(), "sigma": 0.1, "points": t64([[0.0, 0.0], [1.0, 0.0]])}
    with pytest.raises(UsageError, match=says):
        attend(**(arguments | change))
