"""A loop that lives in a run directory: it logs, keeps pictures and checkpoints, stops on Ctrl-C and goes on again."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from modeseek.checkpoints import misfit, pack, unpack
from modeseek.denoisers.base import Cond
from modeseek.distillation import Progress, Step, distill
from modeseek.errors import NonFiniteError
from modeseek.estimators import Estimator
from modeseek.randomness import Streams
from modeseek.runs import Run


@dataclass
class Job:
    """A loop and the directory that it lives in.

    Attributes:
        run: the directory.
        generator: holds the parameters, which checkpoints keep.
        rendered: what the estimator sees of it: the generator itself, or with an encoder behind.
        estimator: the gradient.
        optimiser: over the generator's parameters.
        cond: condition of the whole run, or a function from a view's camera to it.
        rng: one stream for each sample.
        steps: of the optimiser in all.
        refresh_every: steps that share one target.
        keep_picture: called with the number of steps done, at the start and every ``picture_every`` steps.
        picture_every: steps between pictures.
        checkpoint_every: steps between checkpoints.
        lr: learning rate as a function of the step; the optimiser's own if not given.
        marks: by what a checkpoint knows its run again, for instance the fingerprint of a model's weights.
        progress: where the loop stands.
    """

    run: Run
    generator: nn.Module
    rendered: nn.Module
    estimator: Estimator
    optimiser: torch.optim.Optimizer
    cond: Cond | Callable[[Any], Cond]
    rng: Streams
    steps: int
    refresh_every: int
    keep_picture: Callable[[int], None]
    picture_every: int
    checkpoint_every: int
    lr: Callable[[int], float] | None = None
    marks: dict[str, str] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)
    _began: tuple[float, int] = (0.0, 0)  # clock and evaluations when this process took the run up

    def nfe(self) -> int:
        """Evaluations per sample that the whole run takes."""
        return sum(self.estimator.nfe(step) for step in range(0, self.steps, self.refresh_every))

    def advance(self, *, bar: Any = None, stop_after: int | None = None) -> bool:
        """Run to the end, or until Ctrl-C, or for ``stop_after`` steps; save; tell whether the end was reached."""
        first, last = self.progress.step, time.perf_counter()
        self._began = last, self.progress.nfe
        if first == 0:
            self.keep_picture(0)
        if first >= self.steps:
            return True
        with _interruptible() as interrupted:

            def after(step: Step) -> bool:
                nonlocal last
                now = time.perf_counter()
                self._record(step, now - last, bar)
                last = now
                return interrupted() or (stop_after is not None and step.index + 1 - first >= stop_after)

            try:
                distill(
                    self.rendered,
                    self.estimator,
                    self.cond,
                    steps=self.steps,
                    rng=self.rng,
                    optimiser=self.optimiser,
                    lr=self.lr or self.optimiser.param_groups[0]["lr"],
                    refresh_every=self.refresh_every,
                    progress=self.progress,
                    callback=after,
                )
            except NonFiniteError as error:
                if self.progress.step:
                    self.save()
                raise NonFiniteError(f"{error}; the state before it is in {self.run.path}") from error
            self.save()
        return self.progress.step >= self.steps

    def save(self) -> None:
        """Write a checkpoint."""
        tensors, state = pack(self.generator, self.optimiser, self.progress, self.estimator)
        self.run.save(self.progress.step, tensors, state | self.marks)

    def restore(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Put a checkpoint back.

        Raises:
            RunError: if it is of another run.
        """
        for name, mark in self.marks.items():
            if state.get(name) != mark:
                raise misfit(self.run.path, f"the {name} is another one than the run began with")
        parts = (self.generator, self.optimiser, self.estimator)
        self.progress = unpack(tensors, state, *parts, source=self.run.path)

    def _record(self, step: Step, seconds: float, bar: Any) -> None:
        info, done = step.estimate.info, step.index + 1
        head = {"step": done, "grad_norm": step.grad_norm}
        self.run.log({**head, **info, **step.fitted, "nfe": step.progress.nfe, "seconds": round(seconds, 4)})
        if bar is not None:
            spent = time.perf_counter() - self._began[0]
            postfix = {"nfe/s": f"{(step.progress.nfe - self._began[1]) / max(spent, 1e-9):.0f}"}
            if "bandwidth" in info:
                postfix["bandwidth"] = f"{info['bandwidth']:.3g}"
            bar.set_postfix(postfix, refresh=False)
            bar.update(1)
        if done % self.picture_every == 0 or done == self.steps:
            self.keep_picture(done)
        if done % self.checkpoint_every == 0:
            self.save()


@contextmanager
def _interruptible() -> Iterator[Any]:
    """Ctrl-C sets a flag instead of breaking the step; a second one breaks it. Only in the main thread."""
    pressed = False

    def on_signal(number: int, frame: Any) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    try:
        before = signal.signal(signal.SIGINT, on_signal)
    except ValueError:  # not the main thread: Ctrl-C is somebody else's
        yield lambda: False
        return
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)
