"""Training of the small network, about a minute, and its cache."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from modeseek.denoisers.mlp import LogDensityMLP, MLPDenoiser, denoising_loss
from modeseek.densities import GaussianMixture
from modeseek.errors import UsageError

FORMAT = 1  # of the cache: raise it when the network or its training changes what a configuration means
BLOCK = 32  # batches of data that are drawn at once
WARM_UP = 50  # iterations in which Adam's rate rises
Sample = Callable[[int, torch.Generator], Tensor]


@dataclass(frozen=True)
class MLPConfig:
    """The toy model of Karras et al. 2024 (Autoguidance). The defaults train about a minute.

    Attributes:
        width: units of a hidden layer.
        layers: hidden layers.
        iterations: of Adam.
        batch: samples of an iteration.
        lr: Adam's, falling linearly to 0 after a short rise (theirs falls as 1 / sqrt(iteration), which ends with a
            larger error).
        ema_power: gamma of the power-function average, in which iteration i weighs about i^gamma (EDM2, sec. 3.1).
        log_sigma_mean: of the noise levels of training, ln sigma ~ N(mean, std^2).
        log_sigma_std: of the noise levels of training.
        dim: D of the data.
        seed: of weights, data and noise.
    """

    width: int = 64
    layers: int = 4
    iterations: int = 4096
    batch: int = 4096
    lr: float = 1e-2
    ema_power: float = 7.0
    log_sigma_mean: float = -2.3
    log_sigma_std: float = 1.5
    dim: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("width", "layers", "iterations", "batch", "dim", "lr", "log_sigma_std"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} must be positive, got {getattr(self, name)}")


MAIN = MLPConfig()
SMALL = MLPConfig(width=32, iterations=512)  # the bad one of autoguidance


def train(sample: Sample, config: MLPConfig = MAIN, *, progress: Callable[[int], None] | None = None) -> MLPDenoiser:
    """Denoising score matching. Equation MLP-2.

    Gives the same network for the same seed on one machine with one number of threads.

    Args:
        sample: draws n points (n, D) of clean data from a generator.
        config: of network and training.
        progress: called with the number of iterations done, after each.

    Returns:
        The denoiser of the averaged weights, which need no gradient.

    Raises:
        UsageError: if the data are not (n, D) or not finite.
    """
    rng = torch.Generator().manual_seed(config.seed)
    network = LogDensityMLP(config.width, config.layers, config.dim, rng=rng)
    parameters = list(network.parameters())
    average = [p.detach().clone() for p in parameters]
    adam = torch.optim.Adam(parameters, lr=config.lr, betas=(0.9, 0.99), fused=True)
    with torch.enable_grad():
        for i in range(config.iterations):
            if i % BLOCK == 0:
                data = _checked(sample(min(BLOCK, config.iterations - i) * config.batch, rng), config)
            x = data[i % BLOCK * config.batch :][: config.batch]
            adam.param_groups[0]["lr"] = config.lr * min(1, (i + 1) / WARM_UP) * (1 - i / config.iterations)
            adam.zero_grad()
            _loss(network, x, config, rng).backward()  # type: ignore[no-untyped-call]
            adam.step()
            network.normalise()
            torch._foreach_lerp_(average, [p.detach() for p in parameters], _ema_weight(i, config))
            if progress is not None:
                progress(i + 1)
    network.requires_grad_(False)
    for p, mean in zip(parameters, average):
        p.copy_(mean)
    return MLPDenoiser(network)


def _loss(network: LogDensityMLP, x: Tensor, config: MLPConfig, rng: torch.Generator) -> Tensor:
    """At drawn levels and noise."""
    log_sigma = config.log_sigma_mean + config.log_sigma_std * torch.randn(len(x), generator=rng)
    return denoising_loss(network, x, log_sigma.exp(), torch.randn(x.shape, generator=rng))


def _ema_weight(i: int, config: MLPConfig) -> float:
    """``1 - (1 - 1/t)^(gamma + 1)``, t = i + 1: the first iterate counts fully, then about (gamma + 1) / t."""
    kept: float = (1 - 1 / (i + 1)) ** (config.ema_power + 1)
    return 1 - kept


def _checked(data: Tensor, config: MLPConfig) -> Tensor:
    if data.ndim != 2 or data.shape[1] != config.dim or not bool(data.isfinite().all()):
        raise UsageError(f"sample must give finite points (n, {config.dim}), got shape {(*data.shape,)}")
    return data.to("cpu", torch.float32)


# -- cache -------------------------------------------------------------------------------------------------------------


def learned(
    density: GaussianMixture, config: MLPConfig, cache: Path, *, progress: Callable[[int], None] | None = None
) -> MLPDenoiser:
    """The network trained on samples of a mixture, from ``cache`` if it was trained before.

    The file's name is a hash of the configuration, the density and the format. It is written whole or not at all; one
    that is damaged or of something else is trained anew and replaced.

    Raises:
        UsageError: if the folder cannot be written.
    """
    key = _key(density, config)
    path = cache / f"mlp-{key[:20]}.safetensors"
    found = _load(path, key, config)
    if found is None:
        _writable(cache)
        found = train(density.sample, config, progress=progress)
        _save(path, found.network, key, config)
    return found


def _key(density: GaussianMixture, config: MLPConfig) -> str:
    told = {"format": FORMAT, **asdict(config), "density": density.to(torch.float64).fingerprint}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _digest(tensors: dict[str, Tensor]) -> str:
    """Of the weights themselves, since safetensors keeps no checksum."""
    return hashlib.sha256(b"".join(tensors[k].numpy().tobytes() for k in sorted(tensors))).hexdigest()


def _load(path: Path, key: str, config: MLPConfig) -> MLPDenoiser | None:
    """None if there is no such file, or not one of these weights."""
    from safetensors import SafetensorError, safe_open

    network = LogDensityMLP(config.width, config.layers, config.dim, rng=torch.Generator().manual_seed(0))
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118 - not a mapping
            state = json.loads((file.metadata() or {}).get("modeseek", "{}"))
        if (state.get("key"), state.get("sha256")) != (key, _digest(tensors)):
            return None
        network.load_state_dict(tensors)
    except (OSError, SafetensorError, ValueError, AttributeError, RuntimeError):
        return None
    return MLPDenoiser(network.requires_grad_(False))


def _save(path: Path, network: LogDensityMLP, key: str, config: MLPConfig) -> None:
    """Whole or not at all; the digest inside tells a file that lost its end with the machine's power."""
    from safetensors.torch import save

    tensors = {k: v.contiguous() for k, v in network.state_dict().items()}
    state = {"format": FORMAT, "key": key, "sha256": _digest(tensors), "config": asdict(config)}
    part = path.with_name(f".{path.name}.{os.getpid()}.part")  # two processes may train the same network
    try:
        part.write_bytes(save(tensors, {"modeseek": json.dumps(state)}))
        os.replace(part, path)
    except OSError as error:
        raise UsageError(f"cache must be a folder that can be written, got {path.parent} ({error})") from error
    finally:
        part.unlink(missing_ok=True)


def _writable(cache: Path) -> None:
    """Before the minute of training, not after."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=cache).close()
    except OSError as error:
        raise UsageError(f"cache must be a folder that can be written, got {cache} ({error})") from error
