"""Stable-Diffusion-layout pipelines of diffusers: from a directory, a hub id, or an object already built."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modeseek.denoisers.base import Denoiser
from modeseek.denoisers.diffusers import UNetDenoiser
from modeseek.errors import NonFiniteError, PriorError, UsageError
from modeseek.guidance import CFG, LimitedInterval
from modeseek.noise import NoiseTable
from modeseek.randomness import Rng, normal
from modeseek.samplers.ddim import ddim
from modeseek.samplers.product.base import Grid
from modeseek.shipped import POCKET

LAYOUTS = ("StableDiffusionPipeline",)
PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")


@dataclass(frozen=True)
class LatentPrior:
    """A text-to-image latent diffusion model.

    Attributes:
        name: what it was opened from.
        unet: diffusers UNet2DConditionModel.
        vae: diffusers AutoencoderKL.
        text_encoder: transformers CLIPTextModel.
        tokenizer: transformers CLIPTokenizer.
        scheduler: diffusers DDIMScheduler with the model's own configuration.
        denoiser: the UNet in sigma coordinates, unguided.
    """

    name: str
    unet: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any
    scheduler: Any
    denoiser: UNetDenoiser

    @classmethod
    def from_parts(
        cls, name: str, unet: Any, vae: Any, text_encoder: Any, tokenizer: Any, scheduler: Any
    ) -> LatentPrior:
        """Put a prior together from a pipeline's components; they are frozen.

        Raises:
            PriorError: for an unknown prediction type or a UNet that wants more than text, by name.
        """
        from diffusers import DDIMScheduler

        scheduler = DDIMScheduler.from_config(scheduler.config)
        extra = [k for k in ("addition_embed_type", "class_embed_type", "encoder_hid_dim_type") if unet.config.get(k)]
        if extra:
            raise PriorError(f"the UNet must be conditioned on text alone, but {name} sets {', '.join(extra)}")
        if unet.config.in_channels != vae.config.latent_channels:
            raise PriorError(
                f"the UNet's input must be the latent alone: {name} takes {unet.config.in_channels} channels, "
                f"its autoencoder makes {vae.config.latent_channels}"
            )
        table = NoiseTable.from_alphas_cumprod(scheduler.alphas_cumprod)
        for part in (unet, vae, text_encoder):
            part.requires_grad_(False).eval()
        denoiser = UNetDenoiser(unet, table, scheduler.config.prediction_type)
        return cls(name, unet, vae, text_encoder, tokenizer, scheduler, denoiser)

    # -- what a user asks of it -----------------------------------------------------------------------------------

    @property
    def table(self) -> NoiseTable:
        """The model's noise levels."""
        return self.denoiser.table

    @property
    def fingerprint(self) -> str:
        """Short hash of the UNet's first and last convolution: tells one set of weights from another."""
        ends = (self.unet.conv_in.weight, self.unet.conv_out.weight)
        digest = hashlib.sha256(b"".join(w.detach().float().cpu().numpy().tobytes() for w in ends))
        return digest.hexdigest()[:16]

    @property
    def device(self) -> torch.device:
        """Where it lives."""
        device: torch.device = self.unet.device
        return device

    @property
    def factor(self) -> int:
        """Pixels per latent element along a side."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def image_size(self) -> int:
        """Side of the square picture it was trained for, in pixels."""
        return int(self.unet.config.sample_size) * self.factor

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the latent of a picture of ``image_size``."""
        side = int(self.unet.config.sample_size)
        return int(self.vae.config.latent_channels), side, side

    def encode_prompt(self, prompts: str | Sequence[str]) -> Tensor:
        """The text encoder's last hidden states, (number of prompts, L, D); longer prompts are cut to L tokens."""
        texts = [prompts] if isinstance(prompts, str) else list(prompts)
        tokens = self.tokenizer(
            texts,
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        with torch.no_grad():
            mask = None
            if getattr(self.text_encoder.config, "use_attention_mask", None):
                mask = tokens.attention_mask.to(self.device)
            hidden: Tensor = self.text_encoder(tokens.input_ids.to(self.device), attention_mask=mask)[0]
        return hidden

    def guided(
        self, guidance_scale: float, negative: str = "", *, interval: tuple[float, float] | None = None
    ) -> Denoiser:
        """The denoiser under classifier-free guidance.

        Args:
            guidance_scale: 1 is off; the one convention of this project, see docs/conventions.md.
            negative: prompt of the other branch.
            interval: levels (low, high) between which guidance acts; all of them if not given.
        """
        guided: Denoiser = CFG(self.denoiser, guidance_scale, self.encode_prompt(negative))
        return guided if interval is None else LimitedInterval(guided, self.denoiser, *interval)

    def encode(self, image: Tensor, rng: Rng | None = None) -> Tensor:
        """Latents (B, C, H / f, W / f) of images (B, 3, H, W) in [0, 1], with gradient.

        Args:
            image: values outside [0, 1] are passed on as they are.
            rng: draw from the posterior; its mean if not given.
        """
        if image.ndim != 4 or image.shape[1] != 3 or image.shape[2] % self.factor or image.shape[3] % self.factor:
            raise UsageError(f"an image must be (B, 3, H, W), sides multiples of {self.factor}, got {(*image.shape,)}")
        posterior = self.vae.encode((2 * image - 1).to(self.device, self.vae.dtype)).latent_dist
        mean: Tensor = posterior.mean.to(image.dtype)
        if rng is not None:
            mean = mean + posterior.std.to(image.dtype) * normal(rng, mean)
        return (mean - self._shift()) * float(self.vae.config.scaling_factor)

    @torch.no_grad()
    def decode(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1], float32, of latents (B, C, h, w)."""
        latent = (x / float(self.vae.config.scaling_factor) + self._shift()).to(self.device, self.vae.dtype)
        image: Tensor = self.vae.decode(latent).sample.float()
        return (0.5 * image + 0.5).clamp(0, 1)

    def grid(self, steps: int) -> Grid:
        """The scheduler's own levels for ``steps`` sampling steps: its spacing, offset and last level.

        Raises:
            UsageError: if steps is not between 1 and the length of the table.
        """
        if not 1 <= steps <= len(self.table):
            raise UsageError(f"sampling steps must be between 1 and {len(self.table)}, got {steps}")
        self.scheduler.set_timesteps(steps)
        timesteps = self.scheduler.timesteps.to("cpu", torch.float64).clamp(max=len(self.table) - 1)
        final = float(self.scheduler.final_alpha_cumprod)
        last = ((1 - final) / final) ** 0.5
        sigmas = torch.cat([self.table.sigma(timesteps), torch.tensor([last], dtype=torch.float64)])
        timesteps = torch.cat([timesteps, torch.zeros(1, dtype=torch.float64)])
        falling = torch.cat([torch.tensor([True]), sigmas[1:] < sigmas[:-1]])
        return Grid(sigmas[falling], timesteps[falling])

    @torch.no_grad()
    def sample(
        self,
        cond: Tensor,
        rng: Rng,
        *,
        steps: int = 32,
        guidance_scale: float = 4.0,
        negative: str = "",
        eta: float = 0.0,
    ) -> Tensor:
        """Latents (B, C, h, w) of DDIM samples, one for each row of ``cond``, equal to diffusers' DDIM pipeline.

        The scheduler may stop at its first level instead of 0; as in diffusers, the variance-preserving latent there
        is what is decoded. Where ``steps`` does not divide a spacing (linspace, or trailing with 1000 not a multiple),
        diffusers' DDIM steps beside the level that it evaluates next, and this does not.

        Raises:
            NonFiniteError: if a sample is not finite, naming it.
        """
        grid = self.grid(steps)
        eps = normal(rng, torch.empty(cond.shape[0], *self.latent_shape, device=self.device))
        # diffusers starts from N(0, I) in its own coordinates, which is z / a here
        z = eps * (1 + float(grid.sigmas[0]) ** 2) ** 0.5
        z = ddim(self.guided(guidance_scale, negative), z, grid.sigmas, cond, eta=eta, rng=rng)
        bad = ~z.isfinite().flatten(1).all(1)
        if bool(bad.any()):
            raise NonFiniteError(
                f"a sample must be finite, got NaN or infinity in sample(s) {bad.nonzero()[:, 0].tolist()}"
            )
        return z / math.sqrt(1 + float(grid.sigmas[-1]) ** 2)

    def _shift(self) -> float:
        return float(self.vae.config.get("shift_factor") or 0.0)


def open_prior(
    source: str | os.PathLike[str] | Any = POCKET,
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
) -> LatentPrior:
    """Open a Stable-Diffusion-layout model (1.x, 2.x base and v-prediction).

    Args:
        source: a directory, a hub id, or a pipeline object of diffusers that is already built. The shipped model if
            not given. The networks are frozen.
        device: where to put it; the CPU if not given, a pipeline object stays where it is.
        dtype: of the networks' weights; float32 if not given, a pipeline object keeps its own.

    Raises:
        PriorError: saying what is missing or unknown: no such directory or id, no pipeline, a layout or prediction type
            that modeseek does not know, weights that are pickles.
    """
    if not isinstance(source, str | os.PathLike):
        return _from_pipeline(source, device, dtype)
    name = os.fspath(source)
    layout = _read_layout(name)
    if layout.get("_class_name") not in LAYOUTS:
        raise PriorError(
            f"the pipeline must be one of {', '.join(LAYOUTS)}, but {name} is a {layout.get('_class_name')}"
        )
    absent = [part for part in PARTS if not layout.get(part) or layout[part][0] is None]
    if absent:
        raise PriorError(f"a Stable Diffusion pipeline must have {', '.join(PARTS)}; {name} lacks {', '.join(absent)}")
    parts = _load_parts(name, dtype or torch.float32)
    if dtype == torch.float16:
        parts["vae"].float()  # gradients of the size of the bandwidth underflow on their way through it
    for part in ("unet", "vae", "text_encoder"):
        parts[part].to(device or "cpu")
    return LatentPrior.from_parts(name, **parts)


def _from_pipeline(pipeline: Any, device: str | torch.device | None, dtype: torch.dtype | None) -> LatentPrior:
    kind = type(pipeline).__name__
    if kind not in LAYOUTS:
        raise PriorError(f"the pipeline must be one of {', '.join(LAYOUTS)}, got a {kind}")
    absent = [part for part in PARTS if getattr(pipeline, part) is None]
    if absent:
        raise PriorError(
            f"a Stable Diffusion pipeline must have {', '.join(PARTS)}; this one lacks {', '.join(absent)}"
        )
    for part in ("unet", "vae", "text_encoder"):
        getattr(pipeline, part).to(device=device, dtype=dtype)
    return LatentPrior.from_parts(kind, **{part: getattr(pipeline, part) for part in PARTS})


def _read_layout(name: str) -> dict[str, Any]:
    from diffusers import DiffusionPipeline

    path = Path(name)
    if path.exists() and not (path / "model_index.json").is_file():
        raise PriorError(f"a prior must be a pipeline directory with a model_index.json; {name} has none")
    if not path.exists() and (name.count("/") != 1 or name.startswith((".", "/", "~"))):
        raise PriorError(f"a prior must be an existing directory or a hub id like owner/name; there is no {name}")
    try:
        layout: dict[str, Any] = DiffusionPipeline.load_config(name)
    except (OSError, ValueError) as error:
        raise PriorError(f"the prior {name} cannot be read: {_first_line(error)}") from error
    if not isinstance(layout, dict):
        raise PriorError(f"the prior {name} must have a mapping as its model_index.json, got a {type(layout).__name__}")
    return layout


def _load_parts(name: str, dtype: torch.dtype) -> dict[str, Any]:
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    networks = {"unet": UNet2DConditionModel, "vae": AutoencoderKL, "text_encoder": CLIPTextModel}
    parts: dict[str, Any] = {}
    try:
        for part, kind in networks.items():
            _refuse_pickles(Path(name) / part)
            # diffusers' frugal loading wants one more package, and says so each time
            frugal = {} if part == "text_encoder" else {"low_cpu_mem_usage": False}
            parts[part], info = kind.from_pretrained(
                name, subfolder=part, torch_dtype=dtype, use_safetensors=True, output_loading_info=True, **frugal
            )
            # the libraries would fill the gap with random numbers
            if info["missing_keys"]:
                raise PriorError(f"the weights of {name} must be complete; {part} lacks {min(info['missing_keys'])}")
        parts["tokenizer"] = CLIPTokenizer.from_pretrained(name, subfolder="tokenizer")
        parts["scheduler"] = DDIMScheduler.from_pretrained(name, subfolder="scheduler")
    except PriorError:
        raise
    # what the libraries raise on damaged folders has no common base
    except Exception as error:
        raise PriorError(f"the prior {name} cannot be loaded: {_first_line(error)}") from error
    return parts


def _refuse_pickles(folder: Path) -> None:
    if not folder.is_dir():
        return  # a hub id; the libraries are told to take safetensors alone
    if not list(folder.glob("*.safetensors")):
        pickles = sorted(p.name for p in folder.glob("*.bin")) or ["no weights"]
        raise PriorError(f"weights must be safetensors; {folder} holds {', '.join(pickles)} (pickles are never loaded)")


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
