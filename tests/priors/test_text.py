"""Prompts that are too long, and encoders that live elsewhere than the network."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from modeseek.priors import open_prior

Factory = Callable[..., Any]
LONG = "cat cat cat cat cat cat cat cat cat cat red red cat"  # 13 tokens, two more are for the ends; 12 fit


def told(prior: Any, prompts: Any) -> list[str]:
    """Warnings of encoding."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        prior.encode_prompt(prompts)
    return [str(w.message) for w in caught if "longer than" in str(w.message)]


def test_a_long_prompt_is_told_of_with_what_is_cut(tiny: Path) -> None:
    prior = open_prior(tiny)
    assert told(prior, ["red cat", LONG]) == [
        f"the prompt {LONG!r} is longer than the 12 tokens of text_encoder, which does not see 'red red cat'"
    ]
    seen = " ".join(["cat"] * 10)
    torch.testing.assert_close(prior.encode_prompt(LONG), prior.encode_prompt(seen), rtol=0, atol=1e-6)
    assert not told(prior, seen)
    assert not told(prior, "")


@pytest.mark.parametrize(
    ("name", "encoders"),
    [
        ("sdxl", ["text_encoder", "text_encoder_2"]),
        ("sd3", ["text_encoder", "text_encoder_2"]),
        ("flux-dev", ["text_encoder"]),
    ],
)
def test_it_is_told_for_each_encoder(name: str, encoders: list[str], family: Factory) -> None:
    messages = told(open_prior(family(name)), LONG)
    assert [m.split(" tokens of ")[1].split(",")[0] for m in messages] == encoders
    assert all("'red red cat'" in m for m in messages)


@pytest.mark.parametrize(
    ("name", "limit", "part"), [("sd3", 256, "text_encoder_3"), ("flux-dev", 512, "text_encoder_2")]
)
def test_t5_has_a_limit_of_its_own(name: str, limit: int, part: str, family: Factory) -> None:
    text = "x" * (limit - 1) + "yz"  # a mark of the beginning, each letter, and the end's
    messages = told(open_prior(family(name)), text)
    (t5,) = [m for m in messages if part in m]
    assert f"the {limit} tokens of {part}" in t5
    assert t5.endswith("does not see 'xyz'")


@pytest.mark.parametrize("name", ["sdxl", "sd3", "flux-dev"])
def test_text_is_encoded_as_by_the_pipeline(name: str, family: Factory) -> None:
    built, prompts = family(name), ["red cat", "", "Ünïcode 🐈"]
    prior = open_prior(built)
    got = prior.encode_prompt(prompts)
    if name == "flux-dev":
        text, pooled, _ = built.encode_prompt(prompts, None, "cpu")
    elif name == "sd3":
        text, _, pooled, _ = built.encode_prompt(prompts, None, None, "cpu")
    else:
        text, _, pooled, _ = built.encode_prompt(prompts, None, "cpu")
    torch.testing.assert_close(got["text"], text, rtol=0, atol=1e-6)
    torch.testing.assert_close(got["pooled"], pooled, rtol=0, atol=1e-6)
    assert float((got["pooled"][0] - got["pooled"][1]).abs().max()) > 0.01


def test_an_encoder_may_have_a_precision_and_a_device_of_its_own(family: Factory) -> None:
    prior = open_prior(family("sdxl"), dtype=torch.bfloat16)
    prior.text_encoders["text_encoder"].float()
    cond = prior.encode_prompt("red cat")
    assert {v.device for v in cond.values()} == {prior.device}
    with torch.no_grad():
        x0 = prior.denoiser(torch.ones(1, 4, 8, 8), 1.0, cond)
    assert x0.dtype == torch.float32


def test_encoders_are_asked_where_they_are(family: Factory) -> None:
    """The network on another device than the text: there is one device here, so a device without numbers stands in."""
    prior = open_prior(family("flux-dev"))
    prior.denoiser.network.to("meta")
    assert prior.device.type == "meta"
    assert {v.device.type for v in prior.encode_prompt("red cat").values()} == {"meta"}
    assert {e.device.type for e in prior.text_encoders.values()} == {"cpu"}
