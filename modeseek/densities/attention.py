"""A kernel density and its posterior mean in one pass of fused attention: points are keys and values."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from modeseek.errors import UsageError
from modeseek.noise import Sigma

CHUNK = 2**21  # numbers of a block of the chunked path: 16 MB in float64
Both = tuple[Tensor, Tensor]


def _has_fused() -> bool:
    """Whether this torch has the kernel that returns log-sum-exp too; it is private, so a release may drop it."""
    try:
        one = torch.ones(1, 1, 1, 3, dtype=torch.float64)
        mean, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(one, one, one, 0.0, False, scale=1.0)
        return bool(torch.equal(mean, one)) and abs(float(lse) - 3) < 1e-12
    except (AttributeError, RuntimeError, TypeError):
        return False


FUSED = _has_fused()


@torch.no_grad()
def attend(z: Tensor, sigma: Sigma, points: Tensor, log_weights: Tensor | None = None) -> Both:
    """Posterior mean and log density at ``z`` of weighted points seen through Gaussian noise. Equation MSD-16.

    Computed in float64 whatever the type of z (float32 on devices without it), in memory linear in queries + points.
    On the CPU the square is expanded about the mean of the points and its logits carry an error of about
    ``1e-16 R^2 / sigma^2``, R the radius of z and points: 1e-10 for R = 1 and sigma = 0.002. The result carries no
    gradient; that of the log density is ``(mean - z) / sigma^2``.

    Args:
        z: (B, D).
        sigma: standard deviation of the noise, a number or (B,).
        points: (N, D).
        log_weights: (N,), up to a constant; equal if not given.

    Returns:
        The posterior mean ``sum_i r_i y_i``, (B, D), and ``log sum_i w_i N(z; y_i, sigma^2 I)`` in nats, (B,).

    Raises:
        UsageError: if shapes disagree, sigma is not positive, or a point or a log weight is not finite.
    """
    wide = torch.float32 if z.device.type == "mps" else torch.float64
    level = torch.as_tensor(sigma, dtype=wide, device=z.device).expand(len(z))
    points, log_w = _checked(z, level, points.to(z.device, wide), log_weights)
    fused = FUSED and z.device.type == "cpu"
    mean, log_sum = (_fused if fused else _chunked)(z.to(wide), level, points, log_w)
    log_p = log_sum - z.shape[1] * (level.log() + 0.5 * math.log(2 * math.pi))
    return mean.to(z.dtype), log_p.to(z.dtype)


def _checked(z: Tensor, level: Tensor, points: Tensor, log_weights: Tensor | None) -> Both:
    """Points and normalised log weights."""
    if points.ndim != 2 or z.ndim != 2 or points.shape[1] != z.shape[1] or len(points) == 0:
        raise UsageError(f"z must be (B, D) and points (N, D), got {(*z.shape,)} and {(*points.shape,)}")
    if not bool((level > 0).all()):
        raise UsageError(f"sigma must be positive, got {float(level.min())}")
    log_w = points.new_zeros(len(points)) if log_weights is None else log_weights.to(points)
    if log_w.shape != (len(points),):
        raise UsageError(f"log_weights must be ({len(points)},), one for each point, got {(*log_w.shape,)}")
    for name, values in (("points", points), ("log_weights", log_w)):
        if not bool(values.isfinite().all()):
            raise UsageError(f"{name} must be finite, got {int((~values.isfinite()).sum())} numbers that are not")
    return points, log_w.log_softmax(0)


def _fused(z: Tensor, level: Tensor, points: Tensor, log_w: Tensor) -> Both:
    """``q.k = z.y / sigma^2 - |y|^2 / (2 sigma^2) + log w``, each row with its own sigma, about the mean of y.

    v is padded to the width of q and k: with another width torch's kernel would not run fused.
    """
    centre = points.mean(0)
    z, y = z - centre, points - centre
    precision = 1 / level[:, None] ** 2
    q = torch.cat([z * precision, -0.5 * precision, torch.ones_like(precision)], 1)
    k = torch.cat([y, y.square().sum(1, keepdim=True), log_w[:, None]], 1)
    v = torch.nn.functional.pad(y, (0, 2))
    mean, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        q[None, None], k[None, None], v[None, None], 0.0, False, scale=1.0
    )
    return mean[0, 0, :, :-2] + centre, lse[0, 0] - 0.5 * precision[:, 0] * z.square().sum(1)


def _chunked(z: Tensor, level: Tensor, points: Tensor, log_w: Tensor) -> Both:
    """The same by differences, a block of queries at a time: no cancellation, 20 to 30 times slower."""
    rows = max(1, CHUNK // points.numel())
    mean, log_sum = torch.empty_like(z), torch.empty_like(level)
    for i in range(0, len(z), rows):
        block = slice(i, i + rows)
        squares = (z[block, None] - points).square_().sum(-1)
        logits = log_w - squares / (2 * level[block, None] ** 2)
        log_sum[block] = logits.logsumexp(1)
        mean[block] = logits.softmax(1) @ points
    return mean, log_sum
