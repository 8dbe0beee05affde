"""Gradients on every family equal formulas on the model's own parametrisation. Equations SIGMA-3, SIGMA-4, MSD-6.

Nothing here knows sigma: noisy data are ``z = a x + s n`` with the model's own a and s, the network is called as its
pipeline calls it, and each estimator is written out once in these letters.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from modeseek.denoisers import Denoiser
from modeseek.estimators import MSD, SDI, SDS
from modeseek.guidance import CFG
from modeseek.priors import Prior, open_prior
from modeseek.randomness import Streams, uniform
from modeseek.samplers.product import PosteriorMean, Proximal

FAMILIES = ("epsilon", "v_prediction", "sdxl", "sd3", "flux-dev", "flux-schnell", "dit", "ddpm")
TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-5}
CASES = [(name, scale) for name in FAMILIES for scale in (1.0, 7.5, 100.0) if name != "ddpm" or scale == 1]
INVERSION = -6.5  # the public -7.5
FIRST = 50  # where SDI takes x to be: at a flow's first level, 0.001, noise in float32 has three digits less


class Native:
    """A model in its own letters: coefficients of a timestep's index, and the clean data that its output means."""

    def __init__(self, name: str, prior: Prior) -> None:
        self.name, self.prior, self.network = name, prior, prior.denoiser.network
        self.flow = name.startswith(("sd3", "flux"))

    def time(self, index: int) -> float:
        """Timestep, or tau."""
        if not self.flow:
            return index
        t = (index + 1) / 1000
        if self.name == "flux-dev":  # 16 tokens on the line from 256 (0.5) to 4096 (1.15)
            mu = 0.5 + (16 - 256) * 0.65 / 3840
            return math.exp(mu) / (math.exp(mu) + 1 / t - 1)
        shift = 3.0 if self.name == "sd3" else 1.0
        return shift * t / (1 + (shift - 1) * t)

    def coefficients(self, time: float) -> tuple[float, float]:
        """a and s of ``z = a x + s n``."""
        if self.flow:
            return 1 - time, time
        abar = float(self.prior.scheduler.alphas_cumprod[round(time)].double())
        return math.sqrt(abar), math.sqrt(1 - abar)

    def output(self, z: Tensor, time: float, cond: Any) -> Tensor:
        """The network's, called as its pipeline does."""
        t = torch.full((len(z),), time, dtype=torch.float32)
        if isinstance(cond, dict):
            cond = {k: v.expand(len(z), *v.shape[1:]) for k, v in cond.items()}
            cond = {k: v.to(z.dtype) if k in ("text", "pooled") else v for k, v in cond.items()}
        if self.name == "ddpm":
            return self.network(z, t)[0]
        if self.name == "dit":
            return self.network(z, t, cond["label"])[0][:, :4]
        if self.name == "sdxl":
            added = {"text_embeds": cond["pooled"], "time_ids": cond["time_ids"]}
            return self.network(z, t, cond["text"], added_cond_kwargs=added)[0]
        if self.name == "sd3":
            return self.network(z, cond["text"], cond["pooled"], 1000 * t)[0]
        if self.name.startswith("flux"):
            return self.flux(z, t, cond)
        return self.network(z, t, cond.expand(len(z), -1, -1).to(z.dtype))[0]

    def flux(self, z: Tensor, t: Tensor, cond: Any) -> Tensor:
        """With the pipeline's own packing."""
        from diffusers import FluxPipeline

        guidance = torch.full((len(z),), 3.5) if self.name == "flux-dev" else None
        tokens = self.network(
            FluxPipeline._pack_latents(z, *z.shape),
            cond["text"],
            cond["pooled"],
            t,
            FluxPipeline._prepare_latent_image_ids(1, 4, 4, "cpu", torch.float32),
            torch.zeros(cond["text"].shape[1], 3),
            guidance,
        )[0]
        return FluxPipeline._unpack_latents(tokens, 16, 16, 2)

    def clean(self, z: Tensor, time: float, cond: Any, scale: float, uncond: Any) -> Tensor:
        """x0 of the guided output."""
        output = self.output(z, time, cond)
        if scale != 1:
            without = self.output(z, time, uncond)
            output = without + scale * (output - without)
        a, s = self.coefficients(time)
        if self.flow:
            return z - s * output
        return a * z - s * output if self.name == "v_prediction" else (z - s * output) / a


@pytest.fixture(scope="module")
def opened(family: Callable[..., Any], pipeline: Callable[..., Any]) -> Callable[..., Prior]:
    """Priors of every family in any precision, but for the text, each opened once."""
    made: dict[tuple[str, torch.dtype], Prior] = {}

    def get(name: str, dtype: torch.dtype) -> Prior:
        if (name, dtype) not in made:
            usual = name in ("epsilon", "v_prediction")
            options = {"prediction_type": name, "set_alpha_to_one": False, "steps_offset": 1}
            made[name, dtype] = open_prior(pipeline(**options) if usual else family(name), dtype=dtype)
            for encoder in made[name, dtype].text_encoders.values():
                encoder.float()
        return made[name, dtype]

    return get


def short(cond: Any) -> Any:
    """T5's 512 tokens take long; a network takes fewer."""
    return {k: v[:, :16] if k == "text" else v for k, v in cond.items()} if isinstance(cond, dict) else cond


class Case:
    """A model, a point, its conditions."""

    def __init__(self, opened: Callable[..., Prior], name: str, scale: float, dtype: torch.dtype, batch: int) -> None:
        self.prior, self.scale, self.dtype = opened(name, dtype), scale, dtype
        self.native = Native(name, opened(name, torch.float64))  # float32 is held against the formula in float64
        self.streams = Streams.for_batch(0, batch)
        prompts = {"dit": ["7", "12"], "ddpm": ["", ""]}.get(name, ["red cat", "tree"])[:batch]
        self.cond, self.uncond = short(self.prior.encode_prompt(prompts)), short(self.prior.uncond(""))
        self.x = 0.8 * Streams.for_batch(1, batch).normal((batch, *self.prior.latent_shape)).double()

    def guided(self, scale: float) -> Denoiser:
        return CFG(self.prior.denoiser, scale, self.uncond)

    def gradient(self, estimator: Any) -> Tensor:
        return estimator(self.x.to(self.dtype), self.cond, rng=self.streams.at(0)).grad

    def clean(self, z: Tensor, time: float, scale: float | None = None) -> Tensor:
        return self.native.clean(z, time, self.cond, self.scale if scale is None else scale, self.uncond)

    def compare(self, got: Tensor, expected: Tensor) -> None:
        assert (got.dtype, expected.dtype) == (self.dtype, torch.float64)
        error = float((got - expected).norm() / expected.norm())
        assert error < TOLERANCE[self.dtype], error

    # -- the estimators in native letters --------------------------------------------------------------------------

    def sds(self) -> Tensor:
        batch, table = len(self.x), self.prior.table
        streams = self.streams.at(0)
        first, last = table.span(0.02, 0.98)
        rows = []
        indices = [first + int(u * (last - first + 1)) for u in uniform(streams, batch)]
        noise = streams.normal(self.x.shape).double()
        for i, index in enumerate(indices):
            row = Case.row(self, i)
            time = row.native.time(index)
            a, s = row.native.coefficients(time)
            z = a * row.x + s * noise[i : i + 1]
            predicted = (z - a * row.clean(z, time)) / s
            rows.append(s**2 / (a**2 + s**2) * (predicted - noise[i : i + 1]))
        return torch.cat(rows)

    def row(self, i: int) -> Case:
        """This case with sample i alone."""
        one = object.__new__(Case)
        cond = {k: v[i : i + 1] for k, v in self.cond.items()} if isinstance(self.cond, dict) else self.cond
        cond = cond[i : i + 1] if isinstance(cond, Tensor) else cond
        one.__dict__.update({**self.__dict__, "x": self.x[i : i + 1], "cond": cond})
        return one

    def sdi(self) -> Tensor:
        last, spacing = math.floor(0.5 * len(self.prior.table)), len(self.prior.table) / 3
        first = self.native.time(FIRST)
        between = (self.native.time(1 + math.floor(k * spacing)) for k in range(3))
        times = [first, *(t for t in between if first < t < self.native.time(last)), self.native.time(last)]
        z = self.native.coefficients(times[0])[0] * self.x
        for time, above in itertools.pairwise(times):
            (a, s), (b, r) = self.native.coefficients(time), self.native.coefficients(above)
            x0 = self.clean(z, time, INVERSION if self.scale != 1 else 1.0)
            z = b * x0 + r * (z - a * x0) / s
        return self.x - self.clean(z, times[-1])

    def posterior_mean(self, time: float) -> Tensor:
        return self.clean(self.native.coefficients(time)[0] * self.x, time)

    def proximal(self, time: float, times: list[float]) -> Tensor:
        a, s = self.native.coefficients(time)
        bandwidth, start = s / a, self.posterior_mean(time)
        a, s = self.native.coefficients(times[0])
        z = a * start + s * self.streams.at(0).normal(self.x.shape).double()
        for at, below in zip(times, [*times[1:], None]):
            x0 = self.clean(z, at)
            r2 = s**2 / (s**2 + a**2)  # of data of variance 1
            x0 = x0 + r2 / (r2 + bandwidth**2) * (self.x - x0)
            noise = (z - a * x0) / s
            if below is None:  # Stable Diffusion ends at its first level, a flow at 0
                vp = not self.native.flow and not self.prior.scheduler.config.set_alpha_to_one
                (a, s) = self.native.coefficients(0) if vp else (1.0, 0.0)
            else:
                a, s = self.native.coefficients(below)
            z = a * x0 + s * noise
        return self.x - z / a


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("name", "scale"), CASES)
def test_gradients_are_those_of_the_native_formula(
    name: str, scale: float, dtype: torch.dtype, batch: int, opened: Callable[..., Prior]
) -> None:
    case = Case(opened, name, scale, dtype, batch)
    table, guided = case.prior.table, case.guided(scale)
    with torch.no_grad():
        case.compare(case.gradient(SDS(guided, table, time_range=(0.02, 0.98))), case.sds())

        inverse, start = case.guided(INVERSION if scale != 1 else 1.0), float(table.sigmas[FIRST])
        sdi = SDI(guided, table, inverse=inverse, time=0.5, inversion_steps=3, eta=0.0, sigma_start=start)
        case.compare(case.gradient(sdi), case.sdi())

        time = case.native.time(300)
        a, s = case.native.coefficients(time)
        case.compare(case.gradient(MSD(guided, PosteriorMean(), s / a)), case.x - case.posterior_mean(time))

        grid = case.prior.grid(4)
        assert len(grid.sigmas) == 5
        times = [float(t) / 1000 if case.native.flow else float(t) for t in grid.timesteps[:-1]]
        if case.native.flow:
            times[0] = case.native.time(998)  # tau = 1 is cut to the level below
        case.compare(case.gradient(MSD(guided, Proximal(grid), s / a)), case.proximal(time, times))


# -- traps that public implementations fell into -----------------------------------------------------------------------


def test_trap_a_velocity_taken_for_noise(opened: Callable[..., Prior]) -> None:
    """threestudio's SDS asks nobody what a checkpoint predicts."""
    case = Case(opened, "v_prediction", 7.5, torch.float64, 1)
    with torch.no_grad():
        right = case.sds()
        got = case.gradient(SDS(case.guided(7.5), case.prior.table, time_range=(0.02, 0.98)))
        case.native.name = "epsilon"
        wrong = case.sds()
    case.compare(got, right)
    assert float((wrong - right).norm() / right.norm()) > 0.1


def test_trap_a_latent_is_the_mean_of_the_posterior_unless_asked(tiny: Path) -> None:
    """Others draw from the encoder's posterior at every step, so that the same picture has another gradient."""
    prior = open_prior(tiny)
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    mean = prior.encode(image)
    torch.testing.assert_close(prior.encode(image), mean, rtol=0, atol=0)
    n = 400
    drawn = prior.encode(image.expand(n, -1, -1, -1), Streams.for_batch(0, n))
    assert float(drawn.std(0).min()) > 1e-3  # not the mean
    # averaged over 256 elements and 400 draws: five standard errors of the average
    off = ((drawn.mean(0) - mean[0]) / (drawn.std(0) / n**0.5)).mean()
    assert abs(float(off)) < 5 / mean.numel() ** 0.5
