"""VSD's auxiliary as a network that learns the density of the renderings while they move."""

from __future__ import annotations

import math
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from modeseek.denoisers.base import Cond, Denoiser, check_level
from modeseek.errors import NonFiniteError, UsageError
from modeseek.estimators.base import Info
from modeseek.noise import NoiseTable, Sigma, column, vp_scale
from modeseek.optimisers import load_moments, moments
from modeseek.randomness import Rng, normal, uniform

NETWORK, OPTIMISER, BASE = "network.", "optimiser.", "base"
Target = Literal["epsilon", "velocity"]


@runtime_checkable
class Adapter(Protocol):
    """A network that learns on top of another model's weights, as ``priors.lora.LoRA`` does."""

    @property
    def fingerprint(self) -> Tensor:
        """What tells those weights from others', uint8; kept in the state and compared when one is put back."""

    def dropped(self, cond: Cond, rng: Rng, batch: int) -> Cond:
        """The condition to learn under, for a batch of so many rows: parts of it left out at random."""


class Trained:
    """A denoiser fitted to the renderings by denoising score matching. Equation VSD-2.

    Minimises ``E |eps_phi(x + sigma eps; sigma) - eps|^2``, a mean over elements and batch, by its own Adam; or, as
    models of the velocity ``v = a eps - s x`` are trained, ``E |v_phi - v|^2``, which weighs the levels otherwise.

    Args:
        network: holds the parameters; those that require a gradient are trained and kept in the state, so that the
            state of a LoRA (an ``Adapter``) is that of its matrices.
        denoise: the denoiser built on the network, differentiable in them; often the network itself.
        table: the levels that t is drawn from.
        lr: Adam's learning rate; 1e-4 is ProlificDreamer's for a LoRA, a small network in the plane takes more.
        steps: of Adam for each step of the loop.
        time_range: as fractions of the table; t is uniform over the timesteps in it, one per rendering.
        target: "epsilon" or "velocity": of the loss; whatever the network itself predicts.

    Raises:
        UsageError: if no parameter requires a gradient, lr or steps is not positive, the target is another one, or the
            denoiser does not know the table's levels.
    """

    def __init__(
        self,
        network: nn.Module,
        denoise: Denoiser,
        table: NoiseTable,
        *,
        lr: float = 1e-4,
        steps: int = 1,
        time_range: tuple[float, float] = (0.0, 1.0),
        target: Target = "epsilon",
    ) -> None:
        self.parameters = {name: p for name, p in network.named_parameters() if p.requires_grad}
        if not self.parameters:
            raise UsageError("the auxiliary network must have parameters that require a gradient, got none")
        if not lr > 0 or steps < 1:
            raise UsageError(f"lr must be positive and steps at least 1, got {lr} and {steps}")
        if target not in ("epsilon", "velocity"):
            raise UsageError(f"target must be epsilon or velocity, got {target!r}")
        self.adapter = network if isinstance(network, Adapter) else None
        self.target = target
        self.first, self.last = table.span(*time_range)
        check_level(denoise, float(table.sigmas[self.last]), "the auxiliary's level")
        self.denoise, self.table, self.steps = denoise, table, steps
        self.optimiser = torch.optim.Adam(self.parameters.values(), lr=lr)

    def cost(self, sigma: Sigma) -> int:
        """As the denoiser's."""
        return self.denoise.cost(sigma)

    def denoiser(self, x: Tensor) -> Denoiser:
        """The denoiser as it has been fitted so far."""
        return self.denoise

    def fit(self, x: Tensor, cond: Cond, rng: Rng, step: int) -> Info:
        """``steps`` steps of Adam on x (B, *event), level and noise drawn anew for each.

        Info: ``fit_loss``, the mean of the steps' losses, each before its step; 1 is a network that knows nothing.

        Raises:
            UsageError: if the denoiser does not depend on the network's parameters.
            NonFiniteError: if a loss or its gradient is not finite; the network is as the step before left it.
        """
        losses = []
        for _ in range(self.steps):
            sigma = self.table.pick(uniform(rng, x.shape[0]), self.first, self.last)
            eps = normal(rng, x)
            under = cond if self.adapter is None else self.adapter.dropped(cond, rng, x.shape[0])
            with torch.enable_grad():
                loss = self.loss(x, under, eps, sigma.to(x.device, x.dtype))
            self._descend(loss, x.numel(), step)
            losses.append(float(loss.detach()))
        return {"fit_loss": sum(losses) / len(losses)}

    def loss(self, x: Tensor, cond: Cond, eps: Tensor, sigma: Tensor) -> Tensor:
        """The deterministic core: the loss for given noise (B, *event) and levels (B,)."""
        level = column(sigma, x)
        x0 = self.denoise(x + level * eps, sigma, cond)
        # eps_phi - eps = (z - x0 - (z - x)) / sigma, and v_phi - v = a (eps_phi - eps) - s (x0 - x) = (x - x0) / s
        unit = level if self.target == "epsilon" else level * vp_scale(sigma, x)
        return ((x - x0) / unit).square().mean()

    def _descend(self, loss: Tensor, elements: int, step: int) -> None:
        if not loss.requires_grad:
            raise UsageError("the auxiliary's denoiser must be differentiable in the network's parameters; it is not")
        if not bool(loss.isfinite()):
            raise NonFiniteError(f"the auxiliary's loss must be finite, got {float(loss.detach())} at step {step}")
        self.optimiser.zero_grad(set_to_none=True)
        # the gradient of a mean underflows on its way back through float16; a power of two there and back is exact
        scale = 2.0 ** round(math.log2(elements))
        torch.autograd.backward(loss, torch.full_like(loss, scale))
        grads = [p.grad for p in self.parameters.values() if p.grad is not None]
        if not grads:
            raise UsageError("the auxiliary's denoiser must depend on the network's parameters; it does not")
        torch._foreach_div_(grads, scale)
        norm = float(torch.stack(torch._foreach_norm(grads)).norm())
        if not math.isfinite(norm):
            raise NonFiniteError(f"the gradient of the auxiliary's loss must be finite, got {norm} at step {step}")
        self.optimiser.step()

    def state_dict(self) -> dict[str, Tensor]:
        """The trained parameters and Adam's moments; of an adapter the fingerprint of what it stands on."""
        state = {NETWORK + name: p.detach() for name, p in self.parameters.items()}
        state |= {OPTIMISER + name: v for name, v in moments(self.optimiser).items()}
        return state if self.adapter is None else state | {BASE: self.adapter.fingerprint}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Put them back.

        Raises:
            UsageError: if they are another network's, by name, or were trained on another model's weights.
        """
        shapes = {NETWORK + name: p.shape for name, p in self.parameters.items()}
        found = {name: v.shape for name, v in state.items() if name.startswith(NETWORK)}
        if found != shapes:
            wrong = sorted(n for n in shapes | found if shapes.get(n) != found.get(n))
            raise UsageError(f"the state must be that of this auxiliary network; it differs in {', '.join(wrong[:3])}")
        base = None if self.adapter is None else self.adapter.fingerprint.tolist()
        if base != (state[BASE].tolist() if BASE in state else None):
            raise UsageError("the state must be that of this auxiliary network; it was trained on another base model")
        with torch.no_grad():
            for name, p in self.parameters.items():
                p.copy_(state[NETWORK + name])
        try:
            load_moments(
                self.optimiser, {n.removeprefix(OPTIMISER): v for n, v in state.items() if n.startswith(OPTIMISER)}
            )
        except ValueError as error:
            raise UsageError(f"the state must be that of this auxiliary network: {error}") from error
