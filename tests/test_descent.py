"""What a configuration becomes on a model: the estimator as it was told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from modeseek.config import ImageConfig
from modeseek.descent import build_estimator, build_prior
from modeseek.errors import PriorError
from modeseek.schedules import Anneal, Bandwidth, Uniform

BASE: dict[str, Any] = {
    "preset": "paper",
    "steps": 6,
    "sample_steps": 2,
    "refresh_every": 2,
    "guidance": 3.0,
    "bandwidth_start": 20.0,
    "bandwidth_end": 0.1,
}


def test_what_the_estimator_is_told(tiny: Path) -> None:
    def estimator(**options: Any) -> Any:
        config = ImageConfig(("a",), **{**BASE, "prior": str(tiny), **options})
        return build_estimator(config, build_prior(config))

    sds = estimator(method="sds", time_low=0.1, time_high=0.5, weighting="uniform")
    assert (sds.time, sds.weighting) == (Uniform(0.1, 0.5), "uniform")
    assert estimator(method="sds", time="sqrt").time == Anneal(0.98, 0.02, 5, "sqrt")
    sdi = estimator(
        method="sdi", inversion_steps=7, inversion_eta=0.1, inversion_guidance=-3.0, inversion_start=0.2, max_eps=2.0
    )
    assert (sdi.inversion_steps, sdi.eta, sdi.sigma_start, sdi.max_eps) == (7, 0.1, 0.2, 2.0)
    assert (sdi.denoiser.guidance_scale, sdi.inverse.guidance_scale) == (3.0, -3.0)
    assert (sdi.weighting, sdi.pairing, sdi.fresh) == ("x0", "remapped", "exchanged")
    assert sdi.time == Anneal(0.98, 0.25, 5)  # its end at the last target, drawn at step 4
    public = estimator(method="sdi", pairing="public", inversion_noise="added", weighting="sigma2", time="uniform")
    assert (public.weighting, public.pairing, public.fresh) == ("sigma2", "public", "added")
    assert public.time == Uniform(0.25, 0.98)
    assert estimator(method="sdi").sigma_start == pytest.approx(estimator(method="sdi").table.sigma_min)
    msd = estimator(n_samples=3, bandwidth_shape="cosine", sampler="gibbs", sweeps=5, sample_steps=20, guidance=2.5)
    assert (msd.n_samples, msd.denoiser.guidance_scale) == (3, 2.5)
    assert msd.bandwidth == Bandwidth(20.0, 0.1, 5, "cosine")  # its end at the last target, drawn at step 4
    assert (type(msd.sampler).__name__, msd.sampler.options.sweeps, len(msd.sampler.grid.sigmas)) == ("Gibbs", 5, 21)
    negative, empty = estimator(negative="ugly").denoiser.uncond, estimator().denoiser.uncond
    assert float((negative - empty).abs().max()) > 0.01


def test_what_vsd_is_told(tiny: Path) -> None:
    """The tiny model predicts velocities, and its LoRA learns them; rank, rate and steps are the options'."""

    def told(**options: Any) -> Any:
        config = ImageConfig(("a",), **{**BASE, "prior": str(tiny), "method": "vsd", **options})
        return build_estimator(config, build_prior(config))

    vsd = told(lora_rank=2, lora_lr=1e-3, lora_steps=3, time_drop=(2, 0.5), weighting="uniform", seed=4)
    assert (vsd.sds.time, vsd.sds.weighting) == (Uniform(0.02, 0.98, drop=(2, 0.5)), "uniform")
    assert (vsd.auxiliary.steps, vsd.auxiliary.target) == (3, "velocity")
    assert vsd.auxiliary.optimiser.param_groups[0]["lr"] == 1e-3
    assert {min(p.shape) for p in vsd.auxiliary.parameters.values()} == {2}
    assert (vsd.denoiser.guidance_scale, vsd.nfe(0)) == (3.0, 2 + 1)  # the LoRA is not guided
    same, other = told(seed=4, lora_rank=2).state_dict(), told(seed=5, lora_rank=2).state_dict()
    drawn = [k for k, v in vsd.state_dict().items() if v.is_floating_point() and bool(v.any())]
    assert drawn
    assert all(torch.equal(vsd.state_dict()[k], same[k]) for k in drawn)
    assert all(not torch.equal(vsd.state_dict()[k], other[k]) for k in drawn)


def test_a_model_that_a_method_does_not_support(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says which and why."""
    config = ImageConfig(("a",), prior=str(tiny), method="vsd")
    prior = build_prior(config)
    monkeypatch.setattr("modeseek.priors.lora.PROJECTIONS", ("query_of_another_library",))
    with pytest.raises(PriorError, match=r"method vsd must be one that the model supports; for .*must have attention"):
        build_estimator(config, prior)


def test_a_flow_model_has_no_public_pairing(family_dir: Callable[..., Path]) -> None:
    config = ImageConfig(("a",), prior=str(family_dir("sd3")), method="sdi", pairing="public")
    with pytest.raises(PriorError, match=r"pairing public must have a variance-preserving model; .* is a flow model"):
        build_estimator(config, build_prior(config))
