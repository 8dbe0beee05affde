"""Tiny pipelines with random weights of every family beside Stable Diffusion 1: 4 x 8 x 8 latents, 16 x 16 pictures."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

NAMES = ("sdxl", "sd3", "sd3-without-t5", "flux-dev", "flux-schnell", "dit", "ddpm")
LATENT = tuple(name for name in NAMES if name != "ddpm")
WIDTH = 32  # of the text that networks take: two CLIPs of 16, or a T5


class FamilyFactory:
    """``FamilyFactory(parts, folder)("flux-dev")``: networks are made once, pipelines are copies to change.

    Args:
        parts: the tiny Stable Diffusion's.
        folder: where a tokenizer is written.
    """

    def __init__(self, parts: dict[str, Any], folder: Path) -> None:
        self.parts, self.folder = parts, folder
        self.made: dict[str, Any] = {}

    def __call__(self, name: str, **options: Any) -> Any:
        """A pipeline; ``options`` are its scheduler's."""
        with torch.random.fork_rng():
            torch.manual_seed(1)
            built = getattr(self, name.replace("-", "_"))(options)
        for module in built.components.values():
            if isinstance(module, torch.nn.Module):
                module.eval()
        built.set_progress_bar_config(disable=True)
        return built

    def once(self, key: str, make: Callable[[], Any]) -> Any:
        """A copy of what ``make`` gives the first time."""
        if key not in self.made:
            self.made[key] = make()
        return copy.deepcopy(self.made[key])

    # -- pipelines -------------------------------------------------------------------------------------------------

    def sdxl(self, options: dict[str, Any]) -> Any:
        """Two CLIPs, added conditions."""
        import diffusers

        return diffusers.StableDiffusionXLPipeline(
            unet=self.once("sdxl", _sdxl_unet),
            scheduler=vp_scheduler(options),
            text_encoder=copy.deepcopy(self.parts["text_encoder"]),
            text_encoder_2=self.once("clip", self.clip),
            tokenizer=copy.deepcopy(self.parts["tokenizer"]),
            tokenizer_2=copy.deepcopy(self.parts["tokenizer"]),
            vae=copy.deepcopy(self.parts["vae"]),
            add_watermarker=False,
        )

    def sd3(self, options: dict[str, Any], *, with_t5: bool = True) -> Any:
        """Two CLIPs and T5, flow matching."""
        import diffusers

        return diffusers.StableDiffusion3Pipeline(
            transformer=self.once("sd3", _sd3_transformer),
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(**{"shift": 3.0, **options}),
            text_encoder=self.once("clip", self.clip),
            text_encoder_2=self.once("clip", self.clip),
            text_encoder_3=self.once("t5", _t5) if with_t5 else None,
            tokenizer=copy.deepcopy(self.parts["tokenizer"]),
            tokenizer_2=copy.deepcopy(self.parts["tokenizer"]),
            tokenizer_3=self.t5_tokenizer() if with_t5 else None,
            vae=self.shifted_vae(),
        )

    def sd3_without_t5(self, options: dict[str, Any]) -> Any:
        """The same with zeros in T5's place."""
        return self.sd3(options, with_t5=False)

    def flux_dev(self, options: dict[str, Any], *, distilled: bool = True) -> Any:
        """Packed latents, guidance as an input, a shift that depends on the size."""
        import diffusers

        options = {"use_dynamic_shifting": distilled, "shift": 3.0 if distilled else 1.0, **options}
        return diffusers.FluxPipeline(
            transformer=self.once(f"flux-{distilled}", lambda: _flux_transformer(distilled)),
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(**options),
            text_encoder=copy.deepcopy(self.parts["text_encoder"]),
            text_encoder_2=self.once("t5", _t5),
            tokenizer=copy.deepcopy(self.parts["tokenizer"]),
            tokenizer_2=self.t5_tokenizer(),
            vae=self.shifted_vae(),
        )

    def flux_schnell(self, options: dict[str, Any]) -> Any:
        """Without guidance and shift."""
        return self.flux_dev(options, distilled=False)

    def dit(self, options: dict[str, Any]) -> Any:
        """A thousand classes, learned variance."""
        import diffusers

        return diffusers.DiTPipeline(
            transformer=self.once("dit", _dit_transformer),
            scheduler=vp_scheduler({"beta_schedule": "linear", **options}),
            vae=copy.deepcopy(self.parts["vae"]),
            id2label={0: "tench, Tinca tinca", 7: "cock"},
        )

    def ddpm(self, options: dict[str, Any]) -> Any:
        """Pixels, unconditional."""
        import diffusers

        scheduler = diffusers.DDPMScheduler(**{"clip_sample": False, **options})
        return diffusers.DDPMPipeline(unet=self.once("ddpm", _pixel_unet), scheduler=scheduler)

    # -- parts -----------------------------------------------------------------------------------------------------

    def clip(self) -> Any:
        """A CLIP whose pooled text is projected to 16 numbers."""
        from transformers import CLIPTextConfig, CLIPTextModelWithProjection

        config = CLIPTextConfig(**{**self.parts["text_encoder"].config.to_dict(), "projection_dim": 16})
        return CLIPTextModelWithProjection(config)

    def shifted_vae(self) -> Any:
        """An autoencoder of pictures of 16 x 16 whose latents have a mean."""
        vae = copy.deepcopy(self.parts["vae"])
        vae.register_to_config(shift_factor=0.1, sample_size=16)
        return vae

    def t5_tokenizer(self) -> Any:
        """A tokenizer in T5's layout that spells."""
        from tokenizers import Tokenizer, models, pre_tokenizers, processors
        from transformers import T5TokenizerFast

        if not (self.folder / "tokenizer.json").exists():
            letters = [chr(c) for c in range(33, 127)]
            pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((c, -3.0) for c in letters)]
            spelling = Tokenizer(models.Unigram(pieces, unk_id=2))
            spelling.pre_tokenizer = pre_tokenizers.Metaspace()
            spelling.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
            spelling.save(str(self.folder / "tokenizer.json"))
            config = {"tokenizer_class": "T5Tokenizer", "extra_ids": 0, "model_max_length": 512}
            special = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
            (self.folder / "tokenizer_config.json").write_text(json.dumps({**config, **special}))
        return T5TokenizerFast.from_pretrained(self.folder)


def vp_scheduler(options: dict[str, Any]) -> Any:
    """Stable Diffusion's levels."""
    import diffusers

    usual = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False}
    return diffusers.DDIMScheduler(**{**usual, "set_alpha_to_one": False, "steps_offset": 1, **options})


def _sdxl_unet() -> Any:
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel(
        sample_size=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(8, 16),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=2,
        norm_num_groups=4,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 16,
    )
    for name, weight in unet.named_parameters():
        if "attn2.to_" in name or name.startswith("add_embedding"):
            weight.data *= 3  # so that prompts differ: guidance magnifies what they differ by, and rounding with it
    return unet


def _sd3_transformer() -> Any:
    from diffusers import SD3Transformer2DModel

    return SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        caption_projection_dim=16,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=2 * 16,
        pos_embed_max_size=16,
    )


def _flux_transformer(distilled: bool) -> Any:
    from diffusers import FluxTransformer2DModel

    return FluxTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=16,
        guidance_embeds=distilled,
        axes_dims_rope=(4, 4, 8),
    )


def _dit_transformer() -> Any:
    from diffusers import DiTTransformer2DModel

    return DiTTransformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        out_channels=8,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        attention_bias=True,
    )


def _pixel_unet() -> Any:
    from diffusers import UNet2DModel

    return UNet2DModel(
        sample_size=16,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=4,
        norm_num_groups=4,
    )


def _t5() -> Any:
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(
        T5Config(vocab_size=98, d_model=WIDTH, d_kv=8, d_ff=32, num_layers=1, num_heads=2, initializer_factor=1.0)
    )
