"""VSD's LoRA: a copy of a prior's network that shares its weights and learns low-rank changes to its attention."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from modeseek.denoisers.base import Cond, Denoiser, spread
from modeseek.errors import PriorError, UsageError
from modeseek.guidance.packed import Packed, pack, unpack
from modeseek.noise import Sigma
from modeseek.priors.fingerprints import fingerprint
from modeseek.randomness import Rng, uniform

# the projections of an attention block, by diffusers' names; the last four are those of SD3's and FLUX's text
PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
TIME = "time_embedding"  # the module of UNet2DConditionModel whose output every block sees


class NetworkDenoiser(Denoiser, Protocol):
    """A denoiser that has a network of diffusers: a prior's own ``denoiser``."""

    @property
    def network(self) -> Any:
        """What the LoRA changes, an ``nn.Module``."""


class LoRA(nn.Module):
    """A prior's denoiser with a LoRA on its attention: network and denoiser of ``Trained`` at once.

    ``Trained(lora, lora, prior.table)`` learns the density of the renderings; ask it unguided. It starts as the prior's
    own denoiser, which is never changed: the LoRA has modules of its own around the same weights (frozen), so it costs
    the memory of its matrices alone (float32 or better), and one prior can carry several.

    Args:
        denoiser: a prior's, unguided.
        rank: of each change.
        seed: of the initial matrices; the other factor of each is zero.
        cond: the text to learn under instead of the call's: threestudio's has no view in it.
        view_size: length of the vector under "view" in the call's packed condition (``modeseek.guidance.packed``),
            embedded and added to the embedding of the time; 0 does without.
        view_dropout: probability that a sample's view is zero while learning; each for itself.

    Raises:
        UsageError: if rank, view_size or view_dropout is out of range.
        PriorError: if peft is not installed, or the network has no attention, no embedding of the time for a view, or
            a LoRA of its own.
    """

    fingerprint: Tensor

    def __init__(
        self,
        denoiser: NetworkDenoiser,
        *,
        rank: int = 4,  # ProlificDreamer, as the rest
        seed: int = 0,
        cond: Cond = None,
        view_size: int = 0,
        view_dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if rank < 1 or view_size < 0 or not 0 <= view_dropout <= 1:
            raise UsageError(
                "rank must be at least 1, view_size at least 0 and view_dropout between 0 and 1, "
                f"got {rank}, {view_size} and {view_dropout}"
            )
        self.twin = _twin(denoiser)
        self.cond, self.view_dropout = cond, view_dropout
        told = fingerprint([self.twin.network])
        self.register_buffer("fingerprint", torch.frombuffer(bytearray(told), dtype=torch.uint8))
        with torch.random.fork_rng(devices=[]):  # peft and torch draw on the CPU, from the global generator
            torch.default_generator.manual_seed(seed)
            _inject(self.twin.network, rank)
            self.view = _ViewEmbedding(view_size, self.twin.network) if view_size else None
        self.adapted: nn.Module = self.twin.network
        self.sigma_min, self.sigma_max = denoiser.sigma_min, denoiser.sigma_max

    def cost(self, sigma: Sigma) -> int:
        """As the denoiser's."""
        return self.twin.cost(sigma)

    def forward(self, z: Tensor, sigma: Sigma, cond: Cond = None) -> Tensor:
        """x0, shape of z.

        Args:
            z: (B, *event).
            sigma: a number or (B,).
            cond: the prior's, with a "view" (B or 1, view_size) packed beside it if it has one.

        Raises:
            UsageError: if the view is missing or of another size.
        """
        parts = unpack(cond)
        text = parts.cond if self.cond is None else self.cond
        if self.view is None:
            return self.twin(z, sigma, text)
        with _added(self.view(_view(parts.view, self.view.size, z.shape[0])), self.adapted):
            return self.twin(z, sigma, text)

    def dropped(self, cond: Cond, rng: Rng, batch: int) -> Cond:
        """The condition with each sample's view set to zero at probability ``view_dropout``."""
        if self.view is None or self.view_dropout == 0:
            return cond
        parts = unpack(cond)
        view = _view(parts.view, self.view.size, batch)
        kept = (uniform(rng, batch) >= self.view_dropout).to(view.device)
        return pack(Packed(parts.cond, parts.negatives, parts.weights, view * kept[:, None]))


class _ViewEmbedding(nn.Module):
    """A small network from the view to what is added to the embedding of the time; it starts at zero."""

    def __init__(self, size: int, network: nn.Module) -> None:
        super().__init__()
        time = dict(network.named_children()).get(TIME)
        if time is None:
            raise PriorError(
                f"the network must have a {TIME} for a view, as UNet2DConditionModel has; "
                f"a {type(network).__name__} has none"
            )
        weight = list(time.parameters())[-1]  # of its last layer, whose output is the embedding
        self.size, width = size, len(weight)
        self.first, self.last = nn.Linear(size, width), nn.Linear(width, width)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.to(weight.device, torch.promote_types(weight.dtype, torch.float32))

    def forward(self, view: Tensor) -> Tensor:
        """Of views (B, size): (B, width of the embedding of the time)."""
        out: Tensor = self.last(nn.functional.silu(self.first(view.to(self.first.weight))))
        return out


@contextmanager
def _added(embedding: Tensor, network: nn.Module) -> Iterator[None]:
    """Adds an embedding to that of the time inside, and no longer, whatever happens there.

    In micro-batches (``Economy.network_batch``) the network sees the rows one part after the other.
    """
    seen = 0

    def add(module: nn.Module, args: Any, out: Tensor) -> Tensor:
        nonlocal seen
        rows = embedding[seen : seen + len(out)]
        seen = (seen + len(out)) % len(embedding)
        return out + rows.to(out.dtype)

    handle = network.get_submodule(TIME).register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()


def _twin(denoiser: NetworkDenoiser) -> NetworkDenoiser:
    """The same denoiser around the same weights, in modules of its own."""
    network = denoiser.network
    own = sorted(name for name, _ in network.named_parameters() if "lora_" in name)
    if own:
        raise PriorError(f"the network must have no LoRA of its own, got {own[0]}; fuse and unload it first")
    shared = [*network.parameters(), *network.buffers()]
    return copy.deepcopy(denoiser, {id(tensor): tensor for tensor in shared})


def _inject(network: nn.Module, rank: int) -> None:
    """Put the matrices in, by peft; all else is frozen."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise PriorError("peft must be installed for a LoRA; it is not: pip install peft") from error
    if not any(name.endswith(PROJECTIONS) for name, _ in network.named_modules()):
        raise PriorError(f"the network must have attention for a LoRA; this {type(network).__name__} has none")
    # a scale of 1 whatever the rank, as diffusers' own
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(PROJECTIONS)), network)
    for p in network.parameters():
        if p.requires_grad:  # Adam's steps are lost in half precision
            p.data = p.data.to(torch.promote_types(p.dtype, torch.float32))


def _view(view: Tensor | None, size: int, batch: int) -> Tensor:
    if view is None or view.ndim != 2 or view.shape[1] != size:
        found = "none" if view is None else (*view.shape,)
        raise UsageError(f"the condition must bring a view of {batch} rows and {size} columns beside it, got {found}")
    return spread(view, batch)
