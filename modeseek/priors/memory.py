"""What a prior can do without to take less memory; docs/memory.md has what each saves and costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from modeseek.denoisers.batches import MicroBatchedAsk
from modeseek.errors import PriorError, UsageError
from modeseek.priors.base import Prior
from modeseek.priors.latent import LatentPrior


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


def economise(prior: Prior, economy: Economy) -> None:
    """Make a prior do with less, in place; its fingerprint stays. ``open_prior(..., economy=...)`` calls it.

    Args:
        prior: just opened.
        economy: what to do; what it does not ask for is left as it is.

    Raises:
        PriorError: for an option on a part that the model does not have.
    """
    _check(prior, economy)
    if economy.offload_text:
        for encoder in prior.text_encoders.values():
            encoder.to("cpu")
    if economy.network_batch is not None:
        prior.denoiser.ask = MicroBatchedAsk(prior.denoiser.ask, economy.network_batch)
    if isinstance(prior, LatentPrior):
        _change(prior.vae, economy)


def _check(prior: Prior, economy: Economy) -> None:
    of_vae = [name for name in ("vae_slicing", "vae_tiling", "encoder_checkpointing") if getattr(economy, name)]
    if of_vae and not isinstance(prior, LatentPrior):
        raise PriorError(f"{of_vae[0]} must have an autoencoder to act on; {prior.name} has none")
    if economy.offload_text and not prior.text_encoders:
        raise PriorError(f"offload_text must have a text encoder to act on; {prior.name} has none")


def _change(vae: Any, economy: Economy) -> None:
    if economy.vae_slicing:
        vae.enable_slicing()
    if economy.vae_tiling:
        vae.enable_tiling()
    if economy.encoder_checkpointing:
        vae.enable_gradient_checkpointing()
