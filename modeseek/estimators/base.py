"""What an estimator returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from torch import Tensor

from modeseek.denoisers.base import Cond
from modeseek.errors import NonFiniteError
from modeseek.randomness import Rng

Info = dict[str, float | bool]


@dataclass(frozen=True)
class Estimate:
    """A gradient and where it points.

    Attributes:
        x: (B, *event), as it came, with its graph.
        target: (B, *event), no graph; ``x - grad``.
        nfe: denoiser evaluations per sample.
        info: numbers about the call: ``converged``, ``shift`` (root mean square of target - x), ...; see the estimator.
    """

    x: Tensor
    target: Tensor
    nfe: int
    info: Info = field(default_factory=dict)

    @property
    def grad(self) -> Tensor:
        """Descent direction ``x - target``, (B, *event), no graph. Equation MSD-11."""
        return self.x.detach() - self.target

    @property
    def loss(self) -> Tensor:
        """``1/2 |x - target|^2`` summed over elements and batch: a scalar whose gradient in x is ``grad``.

        Its value says nothing about convergence; ``info`` does.
        """
        return 0.5 * (self.x - self.target).square().sum()


class Estimator(Protocol):
    """Turns points into gradients. Stateless: everything that changes on the way is a function of the step."""

    def nfe(self, step: int) -> int:
        """Denoiser evaluations per sample of a call at ``step``."""

    def __call__(self, x: Tensor, cond: Cond = None, *, rng: Rng, step: int = 0) -> Estimate:
        """Estimate at x (B, *event) under a condition of B rows or one."""


@runtime_checkable
class Trains(Protocol):
    """An estimator that trains something of its own, as VSD does: the loop calls ``fit``, a checkpoint keeps its state.

    Between two calls of ``fit`` it is as stateless as any other.
    """

    def fit(self, x: Tensor, cond: Cond = None, *, rng: Rng, step: int = 0) -> Info:
        """Learn from renderings x (B, *event), once a step; returns numbers for the log."""

    def state_dict(self) -> dict[str, Tensor]:
        """All that training has changed, as flat tensors."""

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Put it back.

        Raises:
            UsageError: if it is the state of something else.
        """


def checked(x: Tensor, target: Tensor, nfe: int, info: Info) -> Estimate:
    """The estimate, with ``shift`` in its info.

    Raises:
        NonFiniteError: if the target is not finite in some sample, naming it.
    """
    bad = ~target.isfinite().flatten(1).all(1)
    if bool(bad.any()):
        raise NonFiniteError(
            f"the target must be finite, got NaN or infinity in sample(s) {bad.nonzero()[:, 0].tolist()}"
        )
    target = target.contiguous()  # as a checkpoint gives it back: sums over another layout differ in the last bit
    shift = (target - x.detach()).square().mean().sqrt()
    return Estimate(x, target, nfe, {"shift": float(shift), **info})
