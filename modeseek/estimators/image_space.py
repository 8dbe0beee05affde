"""Score distillation with its loss on the picture instead of the latent (HiFA; Zhu et al. 2023)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from modeseek.denoisers.base import Cond
from modeseek.estimators.base import Estimate, checked
from modeseek.estimators.sds import SDS
from modeseek.methods import Posterior
from modeseek.noise import column
from modeseek.randomness import Rng, normal


class ImageSpace:
    """``grad = (w / sigma) (image - decode(x0))``, x0 the denoised of SDS at the encoded image. Equation SDS-2.

    SDS's ``w (eps_hat - eps)`` is ``(w / sigma) (x - x0)`` for a latent x; here the same difference is taken between
    pictures. It is an estimator over images, for a generator without an encoder behind it: no gradient goes through the
    encoder, and every call decodes.

    Args:
        sds: of the latents: model, times, weighting.
        encode: images (B, 3, H, W) in [0, 1] to latents, for example ``prior.encode``.
        decode: latents to images, for example ``prior.decode``.
        posterior: what ``encode`` gives: its mean, or a sample, for which it is called with the rng as well.
    """

    def __init__(
        self,
        sds: SDS,
        encode: Callable[..., Tensor],
        decode: Callable[[Tensor], Tensor],
        *,
        posterior: Posterior = "mean",
    ) -> None:
        self.sds, self.encode, self.decode, self.posterior = sds, encode, decode, posterior

    def nfe(self, step: int) -> int:
        """Evaluations of a call, as SDS's; encoding and decoding are not counted."""
        return self.sds.nfe(step)

    @torch.no_grad()
    def __call__(self, x: Tensor, cond: Cond = None, *, rng: Rng, step: int = 0) -> Estimate:
        """Estimate at images x (B, 3, H, W), one draw of noise and level for each.

        Info: as SDS's; ``shift`` is that of the picture.

        Raises:
            NonFiniteError: if the gradient of a sample is not finite.
        """
        at = x.detach()
        latent = self.encode(at, rng) if self.posterior == "sample" else self.encode(at)
        sigma = self.sds.levels(rng, x.shape[0], step)
        grad = self.gradient(at, latent, cond, normal(rng, latent), sigma.to(latent.device, latent.dtype))
        info = {"sigma": float(sigma.mean()), "converged": self.sds.time.converged(step)}
        return checked(x, at - grad, self.sds.denoiser.cost(sigma), info)

    def gradient(self, image: Tensor, latent: Tensor, cond: Cond, eps: Tensor, sigma: Tensor) -> Tensor:
        """The deterministic core: the gradient (B, 3, H, W) for given noise (as the latent) and levels (B,)."""
        x0 = self.sds.denoiser(latent + column(sigma, latent) * eps, sigma, cond)
        return column(self.sds.weight(sigma) / sigma, image) * (image - self.decode(x0).to(image.dtype))
