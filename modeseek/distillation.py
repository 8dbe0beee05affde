"""The loop: a generator, an estimator, an optimiser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from modeseek.denoisers.base import Cond
from modeseek.errors import NonFiniteError, UsageError
from modeseek.estimators.base import Estimate, Estimator, Info, Trains
from modeseek.generators.base import View, render
from modeseek.randomness import Streams


@dataclass
class Progress:
    """Where a loop stands; with the generator's and the optimiser's state all that a resume needs.

    Attributes:
        step: steps done.
        nfe: evaluations per sample so far.
        target: the target that following steps may still use.
        info: of the call that made it.
    """

    step: int = 0
    nfe: int = 0
    target: Tensor | None = None
    info: Info = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """What a callback sees after each optimiser step.

    Attributes:
        index: 0 for the first.
        view: what was rendered, before the step.
        estimate: gradient and target; its nfe is 0 where an older target was used again.
        grad_norm: of the parameters' gradient.
        progress: after the step.
        fitted: numbers from an estimator that trains something of its own.
    """

    index: int
    view: View
    estimate: Estimate
    grad_norm: float
    progress: Progress
    fitted: Info = field(default_factory=dict)


def distill(
    generator: nn.Module,
    estimator: Estimator,
    cond: Cond | Callable[[Any], Cond] = None,
    *,
    steps: int,
    rng: Streams,
    optimiser: torch.optim.Optimizer | None = None,
    lr: float | Callable[[int], float] = 1e-2,
    refresh_every: int = 1,
    progress: Progress | None = None,
    callback: Callable[[Step], bool | None] | None = None,
) -> Progress:
    """Move a generator's parameters until the estimator's target is what it renders.

    Args:
        generator: renders x, (B, *event); see ``modeseek.generators``. For a latent model, wrap it in ``Encoded``.
            One that has regularisers gives their sum as its view's ``loss``.
        estimator: for example ``MSD``. One that trains something of its own (``Trains``) learns from every rendering,
            with numbers that are independent of those of the gradient.
        cond: condition of B rows or one, or a function from the view's camera to it.
        steps: optimiser steps in all, those of ``progress`` included.
        rng: one stream per sample.
        optimiser: of the generator's parameters; Adam at ``lr`` if not given.
        lr: learning rate of that Adam; or a function of the step, which then sets that of whichever optimiser.
        refresh_every: steps that share one target.
        progress: where to go on from; changed in place.
        callback: called after each step; returning True stops the loop.

    Returns:
        the progress; the generator is changed in place.

    Raises:
        UsageError: if steps or refresh_every is below 1, or what is rendered depends on no parameter.
        NonFiniteError: if a gradient or what the estimator trains is not finite, naming step and parameter; the
            generator's parameters are left as they were.
    """
    if steps < 1 or refresh_every < 1:
        raise UsageError(f"steps and refresh_every must be at least 1, got {steps} and {refresh_every}")
    at = progress if progress is not None else Progress()
    call = render(generator)
    parameters = [p for p in generator.parameters() if p.requires_grad]
    if not parameters:
        raise UsageError("the generator must have parameters that require a gradient, got none")
    optimiser = optimiser or torch.optim.Adam(parameters, lr=0.0 if callable(lr) else lr)
    while at.step < steps:
        if callable(lr):
            _set_lr(optimiser, lr(at.step))
        streams = rng.at(at.step)
        optimiser.zero_grad(set_to_none=True)
        view = call(streams)
        view = replace(view, image=view.image.clone())  # it may be the parameter itself, which the step moves
        x = view.image
        if not x.requires_grad:
            raise UsageError("the generator's output must depend on parameters that require a gradient")
        fresh = at.target is None or at.step % refresh_every == 0
        wanted = _condition(cond, view.camera) if fresh or isinstance(estimator, Trains) else None
        if at.target is None or fresh:
            estimate = estimator(x, wanted, rng=streams, step=at.step)
            at.target, at.info = estimate.target, estimate.info
        else:
            estimate = Estimate(x, at.target, 0, _moved(at.info, x, at.target))
        _backward(view, estimate.grad)
        grad_norm = _grad_norm(generator, at.step)
        fitted: Info = {}
        if isinstance(estimator, Trains):  # before the parameters move, so that an error leaves them with their step
            fitted = estimator.fit(x.detach(), wanted, rng=rng.at(fit_step(at.step)), step=at.step)
        optimiser.step()
        at.step, at.nfe = at.step + 1, at.nfe + estimate.nfe
        done = Step(at.step - 1, view, estimate, grad_norm, at, fitted)
        if callback is not None and callback(done):
            break
    return at


def fit_step(step: int) -> int:
    """The streams' step for what an estimator trains at ``step``: -2, -3, ...; no gradient draws from below 0."""
    return -2 - step  # -1 is that of initial weights


def _backward(view: View, grad: Tensor) -> None:
    """``(estimate.loss + view.loss).backward()``, without computing the former."""
    if view.loss is None or not view.loss.requires_grad:  # a sum of nothing has no graph
        torch.autograd.backward(view.image, grad)
    else:
        torch.autograd.backward([view.image, view.loss], [grad, None])


def _set_lr(optimiser: torch.optim.Optimizer, lr: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = lr


def _condition(cond: Cond | Callable[[Any], Cond], camera: Any) -> Cond:
    return cond(camera) if callable(cond) else cond


def _moved(info: Info, x: Tensor, target: Tensor) -> Info:
    """The info of an older target, with the shift that is left from x."""
    shift = float((target - x.detach()).square().mean().sqrt())
    relative = {"relative_shift": shift / info["bandwidth"]} if "bandwidth" in info else {}
    return {**info, "shift": shift, **relative}


def _grad_norm(generator: nn.Module, step: int) -> float:
    grads = [p.grad for p in generator.parameters() if p.grad is not None]
    if not grads:
        raise UsageError("the generator's output must depend on parameters that require a gradient; none received one")
    norm = float(torch.stack(torch._foreach_norm(grads)).norm())
    if norm != norm or norm == float("inf"):
        bad = [k for k, p in generator.named_parameters() if p.grad is not None and not bool(p.grad.isfinite().all())]
        raise NonFiniteError(f"the gradient must be finite, got NaN or infinity at step {step} in {', '.join(bad)}")
    return norm
