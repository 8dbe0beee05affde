"""VSD's auxiliary as a network that learns the density of the renderings while they move."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modeseek.denoisers.base import Cond, Denoiser, check_level
from modeseek.errors import NonFiniteError, UsageError
from modeseek.estimators.base import Info
from modeseek.noise import NoiseTable, Sigma, column
from modeseek.optimisers import load_moments, moments
from modeseek.randomness import Rng, normal, uniform

NETWORK, OPTIMISER = "network.", "optimiser."


class Trained:
    """A denoiser fitted to the renderings by denoising score matching. Equation VSD-2.

    Minimises ``E |eps_phi(x + sigma eps; sigma) - eps|^2``, a mean over elements and batch, by its own Adam.

    Args:
        network: holds the parameters; those that require a gradient are trained and kept in the state, so that the
            state of a LoRA is that of its matrices.
        denoise: the denoiser built on the network, differentiable in them; often the network itself.
        table: the levels that t is drawn from.
        lr: Adam's learning rate; 1e-4 is ProlificDreamer's for a LoRA, a small network in the plane takes more.
        steps: of Adam for each step of the loop.
        time_range: as fractions of the table; t is uniform over the timesteps in it, one per rendering.

    Raises:
        UsageError: if no parameter requires a gradient, lr or steps is not positive, or the denoiser does not know the
            table's levels.
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
    ) -> None:
        self.parameters = {name: p for name, p in network.named_parameters() if p.requires_grad}
        if not self.parameters:
            raise UsageError("the auxiliary network must have parameters that require a gradient, got none")
        if not lr > 0 or steps < 1:
            raise UsageError(f"lr must be positive and steps at least 1, got {lr} and {steps}")
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
            NonFiniteError: if a loss is not finite; the network is as the step before left it.
        """
        losses = []
        for _ in range(self.steps):
            sigma = self.table.pick(uniform(rng, x.shape[0]), self.first, self.last)
            with torch.enable_grad():
                loss = self.loss(x, cond, normal(rng, x), sigma.to(x.device, x.dtype))
            self._descend(loss, step)
            losses.append(float(loss.detach()))
        return {"fit_loss": sum(losses) / len(losses)}

    def loss(self, x: Tensor, cond: Cond, eps: Tensor, sigma: Tensor) -> Tensor:
        """The deterministic core: the loss for given noise (B, *event) and levels (B,)."""
        level = column(sigma, x)
        x0 = self.denoise(x + level * eps, sigma, cond)
        return ((x - x0) / level).square().mean()  # eps_phi - eps = (z - x0 - (z - x)) / sigma

    def _descend(self, loss: Tensor, step: int) -> None:
        if not loss.requires_grad:
            raise UsageError("the auxiliary's denoiser must be differentiable in the network's parameters; it is not")
        if not bool(loss.isfinite()):
            raise NonFiniteError(f"the auxiliary's loss must be finite, got {float(loss.detach())} at step {step}")
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.optimiser.step()

    def state_dict(self) -> dict[str, Tensor]:
        """The trained parameters and Adam's moments."""
        state = {NETWORK + name: p.detach() for name, p in self.parameters.items()}
        return state | {OPTIMISER + name: v for name, v in moments(self.optimiser).items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Put them back.

        Raises:
            UsageError: if they are another network's, by name.
        """
        shapes = {NETWORK + name: p.shape for name, p in self.parameters.items()}
        found = {name: v.shape for name, v in state.items() if name.startswith(NETWORK)}
        if found != shapes:
            wrong = sorted(n for n in shapes | found if shapes.get(n) != found.get(n))
            raise UsageError(f"the state must be that of this auxiliary network; it differs in {', '.join(wrong[:3])}")
        with torch.no_grad():
            for name, p in self.parameters.items():
                p.copy_(state[NETWORK + name])
        try:
            load_moments(
                self.optimiser, {n.removeprefix(OPTIMISER): v for n, v in state.items() if n.startswith(OPTIMISER)}
            )
        except ValueError as error:
            raise UsageError(f"the state must be that of this auxiliary network: {error}") from error
