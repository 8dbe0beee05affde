"""PERPNEG-1 against the formula written row by row, on labels, on mappings, and where the public code goes wrong."""

import pytest
import torch
from closed_forms import POINTS, Rows, mixture, t64
from torch import Tensor

from modeseek.denoisers import MixtureDenoiser
from modeseek.errors import UsageError
from modeseek.guidance import CFG, Packed, PerpNeg, pack
from modeseek.guidance.perp_neg import perpendicular

MODEL = MixtureDenoiser(mixture(), torch.tensor([0, 1, 0]))
Z, COND = t64(POINTS), torch.tensor([0, 1, 0, 1, 1])
B = len(Z)
LEVELS = t64([0.1, 0.2, 0.5, 1.0, 5.0])


class Painter:
    """D(z) = z c / (1 + sigma): a condition of one number a sample that a mapping carries, in four dimensions."""

    sigma_min, sigma_max = 0.0, 10.0

    def cost(self, sigma: object) -> int:
        return 1

    def __call__(self, z: Tensor, sigma: object, cond: object = None) -> Tensor:
        level = torch.as_tensor(sigma, dtype=z.dtype).expand(len(z))[:, None, None]
        text = torch.ones(1, 2) if cond is None else cond["text"] if isinstance(cond, dict) else cond
        return z.roll(1, -1) * text[..., :1, None] / (1 + level) + text[..., 1:, None] * z.roll(2, -1) * z


def by_hand(model, z: Tensor, sigma, scale: float, uncond, cond, negatives, weights: Tensor) -> Tensor:
    """Row by row, every model call alone."""
    rows = []
    for i in range(len(z)):
        level = sigma[i] if isinstance(sigma, Tensor) else sigma

        def ask(c, i=i, level=level):
            return model(z[i : i + 1], float(level), c)[0]

        u = ask(uncond)
        c = ask(cond[i : i + 1]) - u
        pushed = torch.zeros_like(c)
        for k in range(weights.shape[1]):
            n = ask(negatives[i : i + 1, k]) - u
            pushed = pushed + weights[i, k] * (n - (n * c).sum() / (c * c).sum() * c)
        rows.append(u + scale * (c + pushed))
    return torch.stack(rows)


@pytest.mark.parametrize("scale", [1.0, -2.0, 7.5])
@pytest.mark.parametrize("uncond", [None, torch.zeros(1, 2).double() + 0.3])
@pytest.mark.parametrize("sigma", [0.4, LEVELS])
def test_formula(scale, uncond, sigma):
    """PERPNEG-1: a batch whose rows differ in latent, level, condition, negatives and weights; one batch or several."""
    draw = torch.Generator().manual_seed(0)
    z, cond = torch.randn(B, 3, 4, generator=draw).double(), torch.randn(B, 2, generator=draw).double()
    negatives, weights = torch.randn(B, 3, 2, generator=draw).double(), torch.randn(B, 3, generator=draw).double()
    guided = PerpNeg(Painter(), scale, uncond, negatives=3)
    found = guided(z, sigma, pack(Packed(cond, negatives, weights)))
    expected = by_hand(Painter(), z, sigma, scale, uncond, cond, negatives, weights)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    if uncond is not None:
        mapping = PerpNeg(Painter(), scale, {"text": uncond}, negatives=3)
        packed = pack(Packed({"text": cond}, {"text": negatives}, weights))
        assert torch.equal(mapping(z, sigma, packed), found)


def test_a_row_of_a_batch_is_that_row_alone():
    """PERPNEG-1: the trap at B > 1, where negatives meet the latents and levels of other samples."""
    draw = torch.Generator().manual_seed(1)
    z, cond = torch.randn(B, 3, 4, generator=draw).double(), torch.randn(B, 2, generator=draw).double()
    negatives, weights = torch.randn(B, 2, 2, generator=draw).double(), torch.randn(B, 2, generator=draw).double()
    guided = PerpNeg(Painter(), 7.5, torch.zeros(1, 2).double())
    together = guided(z, LEVELS, pack(Packed(cond, negatives, weights)))
    for i in range(B):
        row = slice(i, i + 1)
        alone = guided(z[row], LEVELS[row], pack(Packed(cond[row], negatives[row], weights[row])))
        torch.testing.assert_close(together[row], alone, rtol=1e-12, atol=1e-12)
    crossed = guided(z, LEVELS, pack(Packed(cond, negatives.flip(0), weights)))
    assert float((crossed - together).norm() / together.norm()) > 0.1, "another pairing would show"
    one = guided(z, LEVELS, pack(Packed(cond, negatives[:1], weights[:1])))
    spread = Packed(cond, negatives[:1].expand(B, 2, 2), weights[:1].expand(B, 2))
    assert torch.equal(one, guided(z, LEVELS, pack(spread)))


def test_limits():
    """PERPNEG-1: weights of zero, and negatives along the condition, leave classifier-free guidance."""
    negatives = torch.stack([1 - COND, COND], 1)
    guided, plain = PerpNeg(MODEL, 7.5, torch.tensor([1])), CFG(MODEL, 7.5, torch.tensor([1]))
    off = guided(Z, LEVELS, pack(Packed(COND, negatives, torch.zeros(B, 2))))
    torch.testing.assert_close(off, plain(Z, LEVELS, COND), rtol=1e-12, atol=1e-12)
    same = guided(Z, LEVELS, pack(Packed(COND, COND[:, None].expand(B, 2), -torch.ones(B, 2))))
    torch.testing.assert_close(same, plain(Z, LEVELS, COND), rtol=1e-11, atol=1e-11)


def test_perpendicular():
    """PERPNEG-1: orthogonal per sample over all elements; what is missing lies along b; b = 0 takes nothing."""
    draw = torch.Generator().manual_seed(2)
    a, b = (torch.randn(3, 2, 4, generator=draw).double() for _ in range(2))
    b[2] = 0
    left = perpendicular(a, b)
    assert float((left * b).flatten(1).sum(1).abs().max()) < 1e-14
    part = (a - left)[:2]
    share = part / b[:2]
    torch.testing.assert_close(share, share[:, :1, :1].expand_as(share), rtol=1e-10, atol=1e-10)
    assert torch.equal(left[2], a[2])


@pytest.mark.parametrize(("uncond", "calls"), [(None, 4), (torch.tensor([1]), 1)])
def test_costs_two_and_the_negatives(uncond, calls):
    rows = Rows(MODEL, sigma_min=0.1, sigma_max=3.0)
    guided = PerpNeg(rows, 3.0, uncond)
    guided(Z, 0.4, pack(Packed(COND, torch.stack([1 - COND, COND], 1), torch.ones(B, 2))))
    assert (rows.rows, len(rows.levels), guided.cost(0.4)) == (4 * B, calls, 4)
    assert (guided.sigma_min, guided.sigma_max) == (0.1, 3.0)


def test_refuses():
    guided = PerpNeg(MODEL, 3.0, torch.tensor([1]))
    with pytest.raises(UsageError, match="must bring 2 negatives, packed beside it, got none"):
        guided(Z, 0.4, COND)
    with pytest.raises(UsageError, match="must bring 2 negatives, packed beside it, got 1"):
        guided(Z, 0.4, pack(Packed(COND, COND[:, None], torch.ones(B, 1))))
    with pytest.raises(UsageError, match="must be of one kind, got Tensor, dict"):
        guided(Z, 0.4, pack(Packed({"label": COND}, {"label": COND[:, None].expand(B, 2)}, torch.ones(B, 2))))
    with pytest.raises(UsageError, match="negatives must be at least 1, got 0; without any, use CFG"):
        PerpNeg(MODEL, 3.0, negatives=0)
