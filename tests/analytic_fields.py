"""Radiance fields that can be written down, each with parameters, and what a ray sees of them by quadrature."""

from __future__ import annotations

import numpy as np
import torch
from scipy import integrate, special
from torch import Tensor, nn

from modeseek.generators.nerf.base import Field


class Even(Field):
    """The same density and colour everywhere in the cube, in front of black."""

    def __init__(self, density: float = 1.5) -> None:
        super().__init__()
        self.rho = nn.Parameter(torch.tensor(density, dtype=torch.float64))

    def density(self, points: Tensor) -> tuple[Tensor, Tensor]:
        return self.rho.to(points) * torch.ones_like(points[:, 0]), points

    def colour(self, features: Tensor) -> Tensor:
        return torch.tensor([0.2, 0.5, 0.9]).to(features).expand_as(features)

    def background(self, directions: Tensor) -> Tensor:
        return torch.zeros_like(directions)


class Blob(Field):
    """A Gaussian density, a colour that changes smoothly from place to place, a background that changes with the way.

    Counts the points that it is given: in all, and the most at once.
    """

    def __init__(self, height: float = 6.0, width: float = 0.3, centre: tuple[float, ...] = (0.1, -0.2, 0.15)) -> None:
        super().__init__()
        self.height = nn.Parameter(torch.tensor(height, dtype=torch.float64))
        self.width = nn.Parameter(torch.tensor(width, dtype=torch.float64))
        self.centre = nn.Parameter(torch.tensor(centre, dtype=torch.float64))
        self.tint = nn.Parameter(torch.tensor([0.3, 0.2, -0.25], dtype=torch.float64))
        self.sky = nn.Parameter(torch.tensor([0.6, 0.7, 0.8], dtype=torch.float64))
        self.calls, self.evaluated, self.most = 0, 0, 0

    def density(self, points: Tensor) -> tuple[Tensor, Tensor]:
        self.calls, self.evaluated, self.most = (
            self.calls + 1,
            self.evaluated + len(points),
            max(self.most, len(points)),
        )
        away = (points - self.centre.to(points)).square().sum(-1)
        return self.height.to(points) * torch.exp(-away / (2 * self.width.to(points) ** 2)), points

    def colour(self, features: Tensor) -> Tensor:
        return 0.5 + self.tint.to(features) * torch.sin(3 * features)

    def background(self, directions: Tensor) -> Tensor:
        return self.sky.to(directions) * (0.5 + 0.5 * directions.square())

    def seen(self, origin: Tensor, direction: Tensor, near: float, far: float) -> tuple[np.ndarray, float, float]:
        """Colour (3,), alpha and depth of one ray, by adaptive quadrature; the transmittance in closed form."""
        height, width, tint = self.height.item(), self.width.item(), self.tint.tolist()
        o, d = (origin - self.centre).detach().numpy(), direction.numpy()
        middle = -float(o @ d)  # where the ray comes nearest to the centre
        peak = height * np.exp(-float(np.sum((o + middle * d) ** 2)) / (2 * width**2))

        def through(t: float) -> float:
            a, b = ((x - middle) / (np.sqrt(2) * width) for x in (near, t))
            return float(np.exp(-peak * width * np.sqrt(np.pi / 2) * (special.erf(b) - special.erf(a))))

        def share(t: float) -> float:
            return through(t) * peak * float(np.exp(-((t - middle) ** 2) / (2 * width**2)))

        def colour(t: float, k: int) -> float:
            place = origin.numpy()[k] + t * d[k]
            return 0.5 + tint[k] * float(np.sin(3 * place))

        def total(f: object) -> float:
            return float(integrate.quad(f, near, far, epsabs=1e-11, epsrel=1e-11, limit=200)[0])

        back = self.background(direction[None])[0].detach().numpy() * through(far)
        rgb = np.array([total(lambda t, k=k: share(t) * colour(t, k)) for k in range(3)]) + back
        return rgb, 1 - through(far), total(lambda t: share(t) * t)


class Ball(Blob):
    """A ball with a soft skin, of density ``height``; ``width`` is its radius."""

    def __init__(
        self,
        height: float = 40.0,
        width: float = 0.5,
        centre: tuple[float, ...] = (0.0, 0.0, 0.0),
        skin: float = 60.0,
    ) -> None:
        super().__init__(height, width, centre)
        self.skin = skin

    def density(self, points: Tensor) -> tuple[Tensor, Tensor]:
        super().density(points[:0])
        self.evaluated, self.most = self.evaluated + len(points), max(self.most, len(points))
        away = (points - self.centre.to(points)).norm(dim=-1)
        return self.height.to(points) * torch.sigmoid(self.skin * (self.width.to(points) - away)), points
