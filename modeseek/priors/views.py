"""View-dependent prompts: what the text says follows from where the camera stands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from modeseek.cameras.direction import Direction
from modeseek.denoisers.base import Cond, spread
from modeseek.errors import UsageError
from modeseek.guidance.packed import Packed, pack

SIDE, FRONT, BACK, OVERHEAD = range(4)
SUFFIXES = ("side view", "front view", "back view", "overhead view")  # DreamFusion's, in the order of the rows


def spherical(direction: Direction, distance: float = 1.0) -> Tensor:
    """The view as a LoRA may see it, (B, 4): elevation in radians, sine and cosine of the azimuth, distance."""
    azimuth, elevation = (torch.deg2rad(angle) for angle in (direction.azimuth, direction.elevation))
    return torch.stack([elevation, azimuth.sin(), azimuth.cos(), torch.full_like(azimuth, distance)], 1)


class ViewPrompts:
    """``"prompt, side view"`` and its like, by the camera: a condition for ``distill(..., cond=...)``.

    Args:
        encode_prompt: texts to a condition of as many rows (or one row where texts make no difference), for example
            ``prior.encode_prompt``; called once.
        prompt: of the object.
        front: closer than so many degrees to the front of the object is a front view.
        back: the same of its back.
        overhead: above so many degrees is an overhead view, wherever the camera stands around the object.
        view: the camera as a vector for a LoRA, (B, V), packed beside the condition; ``spherical`` is one.

    Raises:
        UsageError: if an angle is out of range, or front and back overlap.
    """

    def __init__(
        self,
        encode_prompt: Callable[[Sequence[str]], Cond],
        prompt: str,
        *,
        front: float = 45.0,  # threestudio's, as the other two
        back: float = 45.0,
        overhead: float = 60.0,
        view: Callable[[Direction], Tensor] | None = None,
    ) -> None:
        if not (front >= 0 and back >= 0 and front + back <= 180 and -90 <= overhead <= 90):
            raise UsageError(
                "front and back must be at least 0 degrees, together at most 180, and overhead between -90 and 90, "
                f"got {front}, {back} and {overhead}"
            )
        self.rows = encode_prompt([f"{prompt}, {suffix}" for suffix in SUFFIXES])
        self.front, self.back, self.overhead, self.view = front, back, overhead, view

    def kind(self, camera: Direction) -> Tensor:
        """SIDE, FRONT, BACK or OVERHEAD for each camera, (B,)."""
        kinds = torch.full_like(camera.azimuth, SIDE, dtype=torch.long)
        kinds[camera.turn < self.front] = FRONT
        kinds[camera.turn > 180 - self.back] = BACK
        kinds[camera.elevation > self.overhead] = OVERHEAD
        return kinds

    def __call__(self, camera: Direction) -> Cond:
        """The condition of each camera, B rows."""
        kinds = self.kind(camera)
        cond = _over(self.rows, lambda rows: _take(rows, kinds))
        return pack(Packed(cond, view=self.seen(camera)))

    def seen(self, camera: Direction) -> Tensor | None:
        """The cameras as a LoRA sees them, (B, V), if it does."""
        return None if self.view is None else self.view(camera)


@dataclass(frozen=True)
class Decay:
    """``f(r) = a exp(-b r) + c``: how strongly a view is pushed away, falling with r in [0, 1]. Equation VIEW-1."""

    a: float
    b: float
    c: float

    def __call__(self, r: Tensor) -> Tensor:
        """Shape of r."""
        return self.a * torch.exp(-self.b * r) + self.c


@dataclass(frozen=True)
class Pushes:
    """The four decays of perp-neg, with threestudio's numbers.

    Attributes:
        front: of the front view between side (r = 0) and front (1).
        side: of the side view between front (r = 0) and side (1).
        side_behind: of the side view between back (r = 0) and side (1).
        front_behind: of the front view there.
    """

    front: Decay = Decay(4, 0.5, -2.426)
    side: Decay = Decay(4, 0.5, -2.426)
    side_behind: Decay = Decay(1, 0.5, -0.606)
    front_behind: Decay = Decay(1, 0.5, 0.967)


class PerpNegPrompts:
    """Prompts between two views and the views to push away from, for ``PerpNeg``. Equation VIEW-1.

    From the front (r = 1) to the side (r = 0) the condition is ``r front + (1 - r) side`` and the negatives are front
    and side; from the side (r = 1) to the back (r = 0) it is ``r side + (1 - r) back`` and they are side and front. The
    weights are minus the decays; those of an overhead view are 0. Armandpour et al. 2023, section 4.

    Args:
        prompts: the views' prompts; its thresholds but for the overhead one are not used.
        pushes: the weights' decays.
    """

    def __init__(self, prompts: ViewPrompts, pushes: Pushes = Pushes()) -> None:
        self.prompts, self.pushes = prompts, pushes

    def __call__(self, camera: Direction) -> Cond:
        """The condition of each camera, B rows, packed with 2 negatives and their weights."""
        turn, before = camera.turn / 90, camera.turn < 90
        r = torch.where(before, 1 - turn, 2 - turn)
        near, far = torch.where(before, FRONT, SIDE), torch.where(before, SIDE, BACK)
        negatives = torch.stack([near, torch.where(before, SIDE, FRONT)], 1)
        weights = -torch.stack(
            [
                torch.where(before, self.pushes.front(r), self.pushes.side_behind(r)),
                torch.where(before, self.pushes.side(1 - r), self.pushes.front_behind(r)),
            ],
            1,
        )
        overhead = camera.elevation > self.prompts.overhead
        near, far = near.where(~overhead, OVERHEAD), far.where(~overhead, OVERHEAD)
        cond = _over(self.prompts.rows, lambda rows: _mix(rows, near, far, r))
        pushed = _over(self.prompts.rows, lambda rows: _take(rows, negatives))
        return pack(Packed(cond, pushed, weights * ~overhead[:, None], self.prompts.seen(camera)))


def _over(cond: Cond, change: Callable[[Tensor], Tensor]) -> Cond:
    """The same for every tensor of a condition."""
    if isinstance(cond, Tensor):
        return change(cond)
    return None if cond is None else {k: change(v) for k, v in cond.items()}


def _take(rows: Tensor, index: Tensor) -> Tensor:
    """Rows by index of any shape; a single row serves all."""
    return spread(rows, len(SUFFIXES))[index.to(rows.device)]


def _mix(rows: Tensor, near: Tensor, far: Tensor, r: Tensor) -> Tensor:
    """``r near + (1 - r) far``, per sample; exactly near where the two are one."""
    share = (1 - r).to(rows.device, rows.dtype).reshape(-1, *[1] * (rows.ndim - 1))
    return torch.lerp(_take(rows, near), _take(rows, far), share)
