import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from closed_forms import MU, C, gaussian, mixture, t64

from modeseek.denoisers import mlp_training
from modeseek.denoisers.mlp_training import MAIN, SMALL, MLPConfig, learned, train
from modeseek.densities import GaussianMixture
from modeseek.errors import UsageError

TINY = MLPConfig(width=8, layers=2, iterations=3, batch=64)


def weights(denoiser):
    return list(denoiser.network.parameters())


def equal(a, b):
    return all(torch.equal(p, q) for p, q in zip(weights(a), weights(b), strict=True))


def relative_error(denoiser, density, sigma):
    """Of the score, root mean square over points of the noised density."""
    z = density.sample(4000, torch.Generator().manual_seed(99), sigma)
    truth = density.score(z, sigma)
    return float(((denoiser(z, sigma) - z) / sigma**2 - truth).norm() / truth.norm())


def test_learns_a_gaussian():
    """MLP-2: of which everything is known: D = mu + C (C + sigma^2 I)^-1 (z - mu)."""
    denoiser = train(gaussian().sample, MLPConfig(width=32, iterations=300, batch=1024))
    for sigma in (0.1, 0.3, 1.0):
        z = gaussian().sample(2000, torch.Generator().manual_seed(5), sigma)
        shrink = C @ np.linalg.inv(C + sigma**2 * np.eye(2))
        expected = t64(MU) + (z - t64(MU)) @ t64(shrink).T
        error = (denoiser(z, sigma) - expected).norm() / (expected - z).norm()
        assert float(error) < 0.15


def test_learns_a_mixture_and_more_training_helps():
    """MLP-2: the score against the mixture's (MIX-3)."""
    good = train(mixture().sample, MLPConfig(iterations=250, batch=1024))
    bad = train(mixture().sample, MLPConfig(width=16, iterations=30, batch=512))
    for sigma in (0.1, 0.3, 1.0):
        errors = relative_error(good, mixture(), sigma), relative_error(bad, mixture(), sigma)
        assert errors[0] < 0.2
        assert errors[0] < errors[1]


def test_configurations():
    assert (MAIN.width, MAIN.layers, MAIN.iterations, MAIN.batch) == (64, 4, 4096, 4096)
    assert replace(MAIN, width=32, iterations=512) == SMALL


def test_a_seed_decides():
    """MLP-2: and neither the global generator nor the surrounding grad mode."""
    torch.manual_seed(1)
    state = torch.get_rng_state()
    with torch.no_grad():
        first = train(mixture().sample, TINY)
    assert torch.equal(torch.get_rng_state(), state)
    assert equal(first, train(mixture().sample, TINY))
    assert not equal(first, train(mixture().sample, replace(TINY, seed=1)))
    assert not any(p.requires_grad for p in weights(first))


def test_the_average_is_a_power_function():
    """MLP-2: iteration i of n weighs about (gamma + 1) i^gamma / n^(gamma + 1)."""
    config, n = MLPConfig(ema_power=3.0), 200
    w = np.array([mlp_training._ema_weight(i, config) for i in range(n)])
    share = w * np.append(np.cumprod((1 - w)[::-1])[::-1][1:], 1)
    assert share.sum() == pytest.approx(1)
    i = np.arange(n)
    np.testing.assert_allclose(share[20:], (((i + 1) / n) ** 4 - (i / n) ** 4)[20:], rtol=1e-9)


def test_progress():
    seen = []
    train(mixture().sample, TINY, progress=seen.append)
    assert seen == [1, 2, 3]


def test_trained_once(tmp_path):
    """The cache gives the same weights and computes nothing."""
    seen = []
    first = learned(mixture(), TINY, tmp_path / "new" / "cache", progress=seen.append)
    second = learned(mixture(), TINY, tmp_path / "new" / "cache", progress=seen.append)
    assert len(seen) == 3
    assert equal(first, second)
    assert equal(first, train(mixture().sample, TINY))
    assert not any(p.requires_grad for p in weights(second))
    assert [p.suffix for p in (tmp_path / "new" / "cache").iterdir()] == [".safetensors"]


def test_the_name_is_of_everything_that_decides(tmp_path, monkeypatch):
    other = GaussianMixture(mixture().means, mixture().covariances, t64([0.4, 0.4, 0.2]))
    moved = GaussianMixture(mixture().means + 1e-12, mixture().covariances, mixture().log_weights.exp())
    wide = GaussianMixture(mixture().means, 1.01 * mixture().covariances, mixture().log_weights.exp())
    for density in (mixture(), other, moved, wide):
        learned(density, TINY, tmp_path)
    learned(mixture(), replace(TINY, lr=1e-3), tmp_path)
    monkeypatch.setattr(mlp_training, "FORMAT", -1)
    learned(mixture(), TINY, tmp_path)
    assert len(list(tmp_path.iterdir())) == 6


def spoil_truncate(path):
    path.write_bytes(path.read_bytes()[:-7])


def spoil_flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def spoil_pickle(path):
    torch.save({"gain": torch.ones(())}, path)


def spoil_empty(path):
    path.write_bytes(b"")


def spoil_foreign(path):
    from safetensors.torch import save_file

    save_file({"gain": torch.ones(())}, path)


def spoil_other_network(path):
    """A network that modeseek wrote, of another configuration, under this name."""
    other = learned(mixture(), replace(TINY, seed=9), path.parent)
    mlp_training._save(path, other.network, "another key", TINY)


def spoil_metadata(path):
    from safetensors.torch import load_file, save_file

    save_file(load_file(path), path, {"modeseek": json.dumps(["not", "a", "mapping"])})


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_truncate,
        spoil_flip,
        spoil_pickle,
        spoil_empty,
        spoil_foreign,
        spoil_other_network,
        spoil_metadata,
    ],
)
def test_a_damaged_or_foreign_file_is_trained_anew(tmp_path, spoil):
    first = learned(mixture(), TINY, tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    spoil(path)
    seen = []
    again = learned(mixture(), TINY, tmp_path, progress=seen.append)
    assert len(seen) == 3
    assert equal(first, again)
    assert path.read_bytes() == whole


@pytest.mark.parametrize(("error", "raised"), [(KeyboardInterrupt, KeyboardInterrupt), (OSError("full"), UsageError)])
def test_what_ends_while_writing_leaves_nothing(tmp_path, monkeypatch, error, raised):
    def ends(*arguments):
        raise error

    monkeypatch.setattr(mlp_training.os, "replace", ends)
    with pytest.raises(raised):
        learned(mixture(), TINY, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_refused_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    seen = []
    with pytest.raises(UsageError, match="cache must be a folder"):
        learned(mixture(), TINY, tmp_path / "file", progress=seen.append)
    assert not seen


@pytest.mark.parametrize("bad", [torch.zeros(64, 3), torch.full((64, 2), float("nan")), torch.zeros(64)])
def test_refuses_data(bad):
    with pytest.raises(UsageError, match="sample must give finite points"):
        train(lambda n, rng: bad, TINY)


@pytest.mark.parametrize("name", ["width", "layers", "iterations", "batch", "lr", "log_sigma_std"])
def test_refuses_configurations(name):
    with pytest.raises(UsageError, match=f"{name} must be positive, got 0"):
        MLPConfig(**{name: 0})
