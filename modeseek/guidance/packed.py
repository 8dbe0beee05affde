"""A condition with what travels beside it: negatives and their weights for perp-neg, the view for VSD's LoRA.

An estimator hands one condition to all that it asks. What only some of them understand is packed into it as a flat
mapping of tensors whose rows are samples, so that whatever spreads, repeats or concatenates conditions does so to all
parts alike, and row i of each belongs to sample i.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from modeseek.denoisers.base import Cond, Denoiser
from modeseek.errors import UsageError
from modeseek.noise import Sigma

BARE, NEGATIVE, WEIGHTS, VIEW = "cond", "negative.", "weights", "view"


@dataclass(frozen=True)
class Packed:
    """The parts of a condition.

    Attributes:
        cond: what the model understands, of B rows or one; of any kind.
        negatives: N conditions of that kind, (B or 1, N, ...).
        weights: theirs, (B or 1, N); negative ones push away.
        view: of the camera, (B or 1, V).

    Raises:
        UsageError: if there are weights without negatives or the other way round, or not as many.
    """

    cond: Cond
    negatives: Cond = None
    weights: Tensor | None = None
    view: Tensor | None = None

    def __post_init__(self) -> None:
        if (self.negatives is None) != (self.weights is None):
            raise UsageError("negatives and their weights must come together, got one without the other")
        shapes = {v.shape[1:2] for v in _parts(self.negatives).values()}
        if self.weights is not None and (self.weights.ndim != 2 or shapes != {self.weights.shape[1:]}):
            found = [(*v.shape,) for v in _parts(self.negatives).values()]
            raise UsageError(
                f"negatives must be (B, N, ...) for weights (B, N), got {found} for {(*self.weights.shape,)}"
            )


def pack(parts: Packed) -> Cond:
    """One condition of all parts; with nothing beside it, the condition itself."""
    if parts.weights is None and parts.view is None:
        return parts.cond
    packed = dict(_parts(parts.cond)) | {NEGATIVE + k: v for k, v in _parts(parts.negatives).items()}
    packed |= {} if parts.weights is None else {WEIGHTS: parts.weights}
    return packed | ({} if parts.view is None else {VIEW: parts.view})


def unpack(cond: Cond) -> Packed:
    """The parts of a condition that ``pack`` made; any other condition is its own only part."""
    if not isinstance(cond, Mapping):
        return Packed(cond)
    negatives = {k.removeprefix(NEGATIVE): v for k, v in cond.items() if k.startswith(NEGATIVE)}
    own = {k: v for k, v in cond.items() if k not in (WEIGHTS, VIEW) and not k.startswith(NEGATIVE)}
    return Packed(_join(own), _join(negatives), cond.get(WEIGHTS), cond.get(VIEW))


class Unpacked:
    """A denoiser that is asked with the model's own part of a packed condition: a prior beside a LoRA that sees views.

    Args:
        denoiser: for example ``prior.guided(7.5)``.
    """

    def __init__(self, denoiser: Denoiser) -> None:
        self.denoiser = denoiser

    @property
    def sigma_min(self) -> float:
        """As the denoiser's."""
        return self.denoiser.sigma_min

    @property
    def sigma_max(self) -> float:
        """As the denoiser's."""
        return self.denoiser.sigma_max

    def cost(self, sigma: Sigma) -> int:
        """As the denoiser's."""
        return self.denoiser.cost(sigma)

    def __call__(self, z: Tensor, sigma: Sigma, cond: Cond = None) -> Tensor:
        """As the denoiser's, shape of z."""
        return self.denoiser(z, sigma, unpack(cond).cond)


def _parts(cond: Cond) -> Mapping[str, Tensor]:
    if cond is None:
        return {}
    return {BARE: cond} if isinstance(cond, Tensor) else cond


def _join(parts: Mapping[str, Tensor]) -> Cond:
    if not parts:
        return None
    return parts[BARE] if parts.keys() == {BARE} else parts
