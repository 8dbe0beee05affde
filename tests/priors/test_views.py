"""View-dependent prompts: thresholds, interpolation and weights by hand, and a loop whose camera turns."""

import math

import pytest
import torch
from torch import Tensor, nn

from modeseek import open_prior
from modeseek.distillation import distill
from modeseek.errors import UsageError
from modeseek.estimators import SDS
from modeseek.generators import View
from modeseek.guidance import PerpNeg, unpack
from modeseek.priors.views import BACK, FRONT, OVERHEAD, SIDE, Decay, Direction, PerpNegPrompts, ViewPrompts, spherical
from modeseek.randomness import Streams


def t64(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


ROWS = torch.arange(4, dtype=torch.float64)[:, None, None] + t64(0, 10, 20)[:, None]  # 4 texts of 3 tokens


def encode(texts) -> Tensor:
    assert texts == ["a cat, side view", "a cat, front view", "a cat, back view", "a cat, overhead view"]
    return ROWS


@pytest.mark.parametrize(
    ("azimuth", "elevation", "kind"),
    [
        (0, 0, FRONT), (44.9, 0, FRONT), (-44.9, 0, FRONT), (45, 0, SIDE), (90, 0, SIDE), (-90, 10, SIDE),
        (135, 0, SIDE), (135.1, 0, BACK), (180, 0, BACK), (-135.1, 0, BACK), (-180, 0, BACK), (540, 0, BACK),
        (360, 0, FRONT), (315.1, 0, FRONT), (-720, 60, FRONT), (0, 60.1, OVERHEAD), (180, 90, OVERHEAD),
    ],
)  # fmt: skip
def test_kinds(azimuth, elevation, kind):
    """Strictly inside the thresholds, as threestudio; any number of turns; overhead before all."""
    prompts = ViewPrompts(encode, "a cat")
    camera = Direction(t64(30, azimuth), t64(0, elevation))
    assert prompts.kind(camera).tolist() == [FRONT, kind]
    assert torch.equal(prompts(camera), ROWS[[FRONT, kind]])


def test_other_thresholds():
    prompts = ViewPrompts(encode, "a cat", front=30, back=60, overhead=20)
    camera = Direction(t64(31, 29, 121, 0), t64(0, 0, 0, 21))
    assert prompts.kind(camera).tolist() == [SIDE, FRONT, BACK, OVERHEAD]


def test_mappings_and_a_row_for_all():
    """SDXL's: two texts a prompt, sizes that are one row."""
    rows = {"text": ROWS, "pooled": ROWS[:, :, 0], "time_ids": torch.ones(1, 6)}
    prompts = ViewPrompts(lambda texts: rows, "a cat")
    camera = Direction(t64(0, 90, 20), t64(0, 0, 80))
    cond, pushing = prompts(camera), unpack(PerpNegPrompts(prompts)(camera))
    assert torch.equal(cond["pooled"], ROWS[[FRONT, SIDE, OVERHEAD], :, 0])
    assert torch.equal(cond["time_ids"], torch.ones(3, 6))
    assert torch.equal(pushing.cond["time_ids"], torch.ones(3, 6))
    assert torch.equal(pushing.negatives["text"][0], ROWS[[FRONT, SIDE]])
    assert pushing.negatives["time_ids"].shape == (3, 2, 6)


# azimuth -> r, the two views that are mixed, the two negatives, their weights from the published numbers
FS, SB, FSB = (lambda r: 4 * math.exp(-r / 2) - 2.426), (lambda r: math.exp(-r / 2) - 0.606), 0.967
BY_HAND = [
    (0.0, 1.0, FRONT, SIDE, [FRONT, SIDE], [FS(1), FS(0)]),
    (30.0, 2 / 3, FRONT, SIDE, [FRONT, SIDE], [FS(2 / 3), FS(1 / 3)]),
    (-30.0, 2 / 3, FRONT, SIDE, [FRONT, SIDE], [FS(2 / 3), FS(1 / 3)]),
    (89.0, 1 / 90, FRONT, SIDE, [FRONT, SIDE], [FS(1 / 90), FS(89 / 90)]),
    (90.0, 1.0, SIDE, BACK, [SIDE, FRONT], [SB(1), math.exp(-0.5) + FSB]),
    (135.0, 0.5, SIDE, BACK, [SIDE, FRONT], [SB(0.5), math.exp(-0.25) + FSB]),
    (-180.0, 0.0, SIDE, BACK, [SIDE, FRONT], [SB(0), 1 + FSB]),
]


def test_interpolation_by_hand():
    """VIEW-1: a batch whose cameras stand all around, each row as the published weights have it."""
    azimuths = t64(*(row[0] for row in BY_HAND))
    found = unpack(PerpNegPrompts(ViewPrompts(encode, "a cat"))(Direction(azimuths, 0 * azimuths)))
    for i, (_, r, near, far, negatives, weights) in enumerate(BY_HAND):
        torch.testing.assert_close(found.cond[i], r * ROWS[near] + (1 - r) * ROWS[far], rtol=1e-12, atol=1e-12)
        assert torch.equal(found.negatives[i], ROWS[negatives])
        torch.testing.assert_close(found.weights[i], -t64(*weights), rtol=1e-9, atol=1e-12)


def test_the_weights_are_continuous_at_the_side():
    """VIEW-1: front is pushed away as much on either side of 90 degrees, and nothing pushes to where the camera is."""
    camera = Direction(t64(90 - 1e-9, 90, 0), t64(0, 0, 0))
    found = unpack(PerpNegPrompts(ViewPrompts(encode, "a cat"))(camera))
    before, after = found.weights[0, 0], found.weights[1, 1]
    assert float(before) == pytest.approx(float(after), abs=1e-3)
    assert abs(float(found.weights[2, 0])) < 1e-3, "front from the front"
    assert abs(float(found.weights[1, 0])) < 1e-3, "side from the side"


def test_overhead_pushes_nothing():
    camera = Direction(t64(0, 100, 100), t64(61, 90, 59))
    found = unpack(PerpNegPrompts(ViewPrompts(encode, "a cat"))(camera))
    assert not found.weights[:2].any()
    assert bool(found.weights[2].any())
    assert torch.equal(found.cond[:2], ROWS[[OVERHEAD, OVERHEAD]])


def test_decay():
    """VIEW-1."""
    torch.testing.assert_close(Decay(2, 3, -1)(t64(0, 0.5)), t64(1, 2 * math.exp(-1.5) - 1))


def test_spherical():
    """Elevation in radians, sine and cosine of the azimuth, distance; packed where it is asked for."""
    camera = Direction(t64(0, 90, -180), t64(0, 45, 90))
    expected = torch.tensor([[0, 0, 1, 2], [math.pi / 4, 1, 0, 2], [math.pi / 2, 0, -1, 2]], dtype=torch.float64)
    torch.testing.assert_close(spherical(camera, 2.0), expected, rtol=0, atol=1e-12)
    prompts = ViewPrompts(encode, "a cat", view=spherical)
    assert torch.equal(unpack(prompts(camera)).view, spherical(camera))
    assert torch.equal(unpack(prompts(camera)).cond, ROWS[prompts.kind(camera)])
    assert torch.equal(unpack(PerpNegPrompts(prompts)(camera)).view, spherical(camera))


def test_refuses():
    with pytest.raises(UsageError, match=r"azimuth and elevation must both be \(B,\), got \(2,\) and \(3,\)"):
        Direction(torch.zeros(2), torch.zeros(3))
    with pytest.raises(UsageError, match="together at most 180"):
        ViewPrompts(encode, "a cat", front=100, back=90)
    with pytest.raises(UsageError, match="a condition must have 1 or 4 rows, got 3"):
        ViewPrompts(lambda texts: ROWS[:3], "a cat")(Direction(t64(0), t64(0)))


class Turning(nn.Module):
    """Latents seen from a direction that every sample draws for itself."""

    def __init__(self, b: int) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.randn(b, 4, 8, 8, generator=torch.Generator().manual_seed(0)))

    def forward(self, rng: Streams) -> View:
        turn, height = rng.uniform((len(self.x), 2)).unbind(1)
        return View(self.x, Direction(360 * turn, 90 * height))


@pytest.mark.filterwarnings("ignore:the prompt")  # longer than the tiny tokenizer takes
@pytest.mark.parametrize("pushing", [False, True])
def test_in_the_loop(pipeline, pushing):
    """Two samples in a batch go where each goes alone: nothing of one camera reaches the other."""
    prior = open_prior(pipeline())
    prompts = ViewPrompts(prior.encode_prompt, "cat")
    guided = PerpNeg(prior.denoiser, 7.5, prior.encode_prompt("")) if pushing else prior.guided(7.5)
    cond = PerpNegPrompts(prompts) if pushing else prompts

    def run(generator: Turning, rng: Streams) -> Tensor:
        distill(generator, SDS(guided, prior.table), cond, steps=2, rng=rng)
        return generator.x.detach()

    together = run(Turning(2), Streams.for_batch(0, 2))
    assert float((together - Turning(2).x.detach()).abs().max()) > 1e-3
    for i in range(2):
        alone = Turning(2)
        alone.x = nn.Parameter(alone.x.detach()[i : i + 1].clone())
        torch.testing.assert_close(run(alone, Streams(0, [i])), together[i : i + 1], rtol=1e-3, atol=1e-4)
