"""Pictures of a radiance field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from modeseek.cameras import Cameras
from modeseek.errors import UsageError
from modeseek.generators.nerf import nerfacc
from modeseek.generators.nerf.base import Field, Rendered
from modeseek.generators.nerf.compositing import composite
from modeseek.generators.nerf.marching import SLICES, March, Rays, Seen, joined
from modeseek.generators.nerf.occupancy import OccupancyGrid
from modeseek.randomness import Streams

JITTER = -30  # the branch of the streams that places samples
MOST = 1 << 26  # points at once: beyond, 64 features of each take 16 GiB
Backend = Literal["torch", "nerfacc"]


class Renderer(nn.Module):
    """Renders a field in the cube [-1, 1]^3.

    Each ray's way through the cube is cut into ``samples`` pieces, each with one sample (NERF-1); with ``importance``
    a first look without gradients, at densities alone, cuts them further where it met something (NERF-2). Samples are
    evaluated sixteen to a ray at a time, front to back: those in empty cells and those that too little light passes
    are left out, exactly the same ones whatever ``chunk`` is.

    What is approximated, and by how much: ``stop`` and ``faint`` each change a pixel by at most themselves,
    ``faint`` in pictures without gradients only (without its colour a sample's density would be told that it is black);
    ``occupancy`` see there.

    Args:
        field: what is rendered.
        samples: pieces of each ray.
        importance: pieces to add where the first look met something.
        chunk: points that the field is given at once; bounds the memory of pictures without gradients, and with
            ``recompute`` those of pictures with, but for 4 bytes a sample where they are jittered, and 32 a visible
            sample where they are kept.
        stop: samples that less than this share of the light passes are not evaluated.
        faint: what the samples of a ray may weigh together that get no colour where no gradient is wanted.
        occupancy: cells that hold anything; None evaluates all.
        recompute: keep no graph but that of one chunk, and compute it again on the way back; until then field
            and occupancy must stay as they are.
        normal_step: distance over which normals are central differences of the density (threestudio's 0.01).
        backend: of the compositing: "torch", on any device, or "nerfacc", on CUDA in float32, the same picture.

    Raises:
        UsageError: if a number is out of range, or nerfacc is asked for and missing.
    """

    def __init__(
        self,
        field: Field,
        *,
        samples: int = 64,
        importance: int = 0,
        chunk: int = 1 << 18,
        stop: float = 1e-4,
        faint: float = 1e-3,
        occupancy: OccupancyGrid | None = None,
        recompute: bool = False,
        normal_step: float = 0.01,
        backend: Backend = "torch",
    ) -> None:
        super().__init__()
        if samples < 1 or importance < 0:
            raise UsageError(f"samples must be at least 1 and importance at least 0, got {samples} and {importance}")
        if not samples + importance <= chunk <= MOST:
            raise UsageError(
                f"chunk must be from {samples + importance} points, the samples of one ray, to {MOST}, got {chunk}"
            )
        if not (0 <= stop < 1 and 0 <= faint < 1 and normal_step > 0):
            raise UsageError(
                f"stop and faint must be in [0, 1) and normal_step positive, got {stop}, {faint} and {normal_step}"
            )
        if backend not in get_args(Backend):
            raise UsageError(f'backend must be "torch" or "nerfacc", got {backend!r}')
        self.field, self.occupancy = field, occupancy
        self.samples, self.importance, self.chunk = samples, importance, chunk
        self.stop, self.faint, self.recompute, self.normal_step = stop, faint, recompute, normal_step
        self._composite = nerfacc.composite() if backend == "nerfacc" else composite

    def forward(
        self,
        cameras: Cameras,
        height: int,
        width: int,
        rng: Streams | None = None,
        *,
        normals: bool = False,
        keep_samples: bool = False,
    ) -> Rendered:
        """Pictures of height x width pixels, differentiable in the field's parameters.

        Args:
            cameras: B of them, of the field's type and on its device.
            rng: one stream for each camera, which places its samples; None takes the middles.
            normals: also render normals, six more densities for each sample that is seen.
            keep_samples: also return the samples.

        Raises:
            UsageError: if there is no pixel, or not a stream for each camera.
        """
        origins, directions = (r.flatten(0, 2) for r in cameras.rays(height, width))
        jitter = self._jitter(rng, len(cameras), height * width, directions)
        group = max(1, self.chunk // min(SLICES, self.samples + self.importance))
        march = _recomputed(self._march()) if self.recompute and torch.is_grad_enabled() else self._march()
        seen = []
        for first in range(0, len(directions), group):
            rows = slice(first, first + group)
            rays = Rays(origins[rows], directions[rows], None if jitter is None else jitter[rows], first)
            seen.append(march(rays, normals, keep_samples))
        return _pictures(seen, directions.view(len(cameras), height, width, 3))

    def _march(self) -> March:
        return March(
            self.field,
            self.occupancy,
            self._composite,
            self.samples,
            self.importance,
            self.stop,
            self.faint,
            self.normal_step,
        )

    def _jitter(self, rng: Streams | None, views: int, pixels: int, like: Tensor) -> Tensor | None:
        """(R, n) numbers in [0, 1): of a sample of the last look each, and of the quantiles before them."""
        if rng is None:
            return None
        if len(rng) != views:
            raise UsageError(f"there must be one stream for each camera, got {len(rng)} for {views}")
        n = self.samples + (self.importance + 1 if self.importance else 0)
        return rng.branch(JITTER).uniform((views, pixels, n)).flatten(0, 1).to(like)


def _recomputed(call: Callable[..., Seen]) -> Callable[..., Seen]:
    def run(*arguments: object) -> Seen:
        out: Seen = checkpoint(call, *arguments, use_reentrant=False, preserve_rng_state=False)
        return out

    return run


def _pictures(seen: list[Seen], directions: Tensor) -> Rendered:
    b, h, w, _ = directions.shape

    def picture(name: str) -> Tensor:
        return torch.cat([getattr(s, name) for s in seen]).view(b, h, w, -1).permute(0, 3, 1, 2).contiguous()

    kept = [s.samples for s in seen if s.samples is not None]
    return Rendered(
        image=picture("colour"),
        alpha=picture("alpha"),
        depth=picture("depth"),
        directions=directions,
        normal=picture("normal") if seen[0].normal is not None else None,
        samples=joined(kept) if kept else None,
    )
