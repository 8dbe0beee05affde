"""The quality experiment's measurements on sets whose order is known."""

from __future__ import annotations

import pytest
import torch

from modeseek.experiments import quality
from modeseek.metrics import ImageText
from modeseek.shipped import POCKET_CLIP


@pytest.fixture(scope="module")
def discs() -> torch.Tensor:
    """A coloured disc for each prompt and seed, two seeds, (40, 3, 64, 64)."""
    generator = torch.Generator().manual_seed(0)
    v, u = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 64), indexing="ij")
    radius = 0.3 + 0.6 * torch.rand(2 * len(quality.PROMPTS), 1, 1, 1, generator=generator)
    inside = (u**2 + v**2 < radius**2).float()
    colour = torch.rand(2 * len(quality.PROMPTS), 3, 1, 1, generator=generator)
    return colour * inside + 1 - inside


def test_measures_order_sets_by_their_distance(discs):
    clip, names = ImageText.open(), (POCKET_CLIP / "names.txt").read_text().splitlines()
    noise = torch.randn(discs.shape, generator=torch.Generator().manual_seed(1))
    near, far = (discs + 0.02 * noise).clamp(0, 1), 1 - discs
    same, a, b = (quality.measure(x, discs, clip, names, resamples=20) for x in (discs, near, far))
    assert same["frechet"] == pytest.approx(0, abs=1e-6)
    assert same["frechet"] < a["frechet"] < b["frechet"]
    assert same["kernel"] < 0 < b["kernel"]
    assert a["kernel"] < b["kernel"]
    low, high = b["frechet_95"]
    assert low < high
    assert b["dimensions"] == min(quality.DIMENSIONS, len(discs) - 1)


def test_the_farther_of_two_sets_is_farther(discs):
    noise = torch.randn(discs.shape, generator=torch.Generator().manual_seed(2))
    low, high = quality.difference((discs + 0.3 * noise).clamp(0, 1), discs, discs, ImageText.open(), resamples=20)
    assert 0 < low < high


def test_prompts_are_names_of_the_data():
    assert set(quality.PROMPTS) <= set((POCKET_CLIP / "names.txt").read_text().splitlines())
    assert len(set(quality.PROMPTS)) == 20


def test_a_set_is_made_once(tmp_path):
    made = []

    def make() -> torch.Tensor:
        made.append(1)
        return torch.rand(2, 3, 4, 4)

    first = quality._stored(tmp_path / "set.safetensors", make)
    assert torch.equal(first, quality._stored(tmp_path / "set.safetensors", make))
    assert made == [1]


def test_the_table_shows_every_row():
    row = {"nfe": 1, "frechet": 0.5, "frechet_95": [0.4, 0.6], "kernel": 1e-3, "kernel_95": [0.0, 2e-3]}
    row |= {"similarity": 0.3, "median_rank": 2.0}
    text = quality.table({r.name: row for r in quality.ROWS})
    assert all(f"| {r.name} | 1 | 0.5000 (0.4000 to 0.6000) | 1.00 (0.00 to 2.00)" in text for r in quality.ROWS)
