"""What a prior can do without to take less memory; docs/memory.md has what each saves and costs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, TypeVar

from modeseek.denoisers.batches import MicroBatchedAsk
from modeseek.errors import PriorError, UsageError
from modeseek.priors.base import Prior
from modeseek.priors.latent import LatentPrior

AnyPrior = TypeVar("AnyPrior", bound=Prior)


@dataclass(frozen=True)
class Economy:
    """Ways to trade time for memory. All but tiling give the same result to rounding.

    Attributes:
        network_batch: rows that the network sees at once, after guidance has doubled them; None is all.
        vae_slicing: the autoencoder works on one picture at a time.
        vae_tiling: pictures larger than the autoencoder's own size go through it in overlapping tiles. Another result:
            its normalisation and attention see a tile alone.
        encoder_checkpointing: the encoder's inner activations are not kept for the gradient but computed again.
        offload_text: the text encoders are on the CPU; what they make of a prompt is moved to the network.

    Raises:
        UsageError: if network_batch is below 1.
    """

    network_batch: int | None = None
    vae_slicing: bool = False
    vae_tiling: bool = False
    encoder_checkpointing: bool = False
    offload_text: bool = False

    def __post_init__(self) -> None:
        if self.network_batch is not None and self.network_batch < 1:
            raise UsageError(f"network_batch must be at least 1, got {self.network_batch}")


def economise(prior: AnyPrior, economy: Economy) -> AnyPrior:
    """The same prior with less memory. Its autoencoder and text encoders are changed in place, as by diffusers.

    Args:
        prior: just opened; its fingerprint stays.
        economy: what to do; what is not asked for is left as it is.

    Raises:
        PriorError: for an option on a part that the model does not have.
    """
    _check(prior, economy)
    if economy.offload_text:
        for encoder in prior.text_encoders.values():
            encoder.to("cpu")
    if isinstance(prior, LatentPrior):
        _change(prior.vae, economy)
    return prior if economy.network_batch is None else _micro_batched(prior, economy.network_batch)


def _check(prior: Prior, economy: Economy) -> None:
    of_vae = [k for k in ("vae_slicing", "vae_tiling", "encoder_checkpointing") if getattr(economy, k)]
    if of_vae and not isinstance(prior, LatentPrior):
        raise PriorError(f"{of_vae[0]} must have an autoencoder to act on; {prior.name} has none, its network sees pixels")
    if economy.offload_text and not prior.text_encoders:
        raise PriorError(f"offload_text must have a text encoder to act on; {prior.name} has none")


def _change(vae: Any, economy: Economy) -> None:
    if economy.vae_slicing:
        vae.enable_slicing()
    if economy.vae_tiling:
        vae.enable_tiling()
    if economy.encoder_checkpointing:
        vae.enable_gradient_checkpointing()
        # older diffusers heed it in training mode alone. The flag of this one module, which nothing else reads: its
        # layers stay in evaluation mode
        vae.encoder.training = True


def _micro_batched(prior: AnyPrior, size: int) -> AnyPrior:
    """The prior around a denoiser of its own, which shares the network."""
    denoiser = copy_of(prior.denoiser, size)
    levels = dataclasses.replace(prior.levels, denoiser=denoiser)
    return dataclasses.replace(prior, denoiser=denoiser, levels=levels)
