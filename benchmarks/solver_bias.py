"""How far each product sampler is from the product density, as a Markdown table: ``python -m benchmarks.solver_bias``.

Exact denoisers, Karras grid from 5 to 0.002 with rho 7, start at D(x; h), clock sigma. Mean and variance of y over 2048
noises and their negatives, which average what is linear in the noise away; at three points x of each density. The truth
is a sum over a dense grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from modeseek.denoisers import MixtureDenoiser
from modeseek.densities import GaussianMixture
from modeseek.errors import UnstableError
from modeseek.methods import PRODUCT_SAMPLERS, ProductOptions
from modeseek.noise import karras_sigmas
from modeseek.randomness import Streams
from modeseek.samplers.product import Grid

STEPS, NOISES = (32, 128), 2048
BANDWIDTHS, WIDE = (0.05, 0.2, 0.5, 1.0), (2.0, 5.0, 15.0)  # WIDE: where the inverted variant is free to move


class Antithetic(Streams):
    """Normal numbers in pairs of opposite sign, from one generator."""

    def __init__(self, seed: int, rows: int) -> None:
        super().__init__(seed)
        self.samples = ((0,),) * rows

    def normal(self, shape: Sequence[int]) -> Tensor:
        """The first half of the rows, and their negatives."""
        draw = self._generators[0].standard_normal
        half = torch.from_numpy(draw((shape[0] // 2, *shape[1:]), np.float32))
        half = half / half.square().mean(0, keepdim=True).sqrt()  # their variance is 1, not 1 within sampling error
        return torch.cat([half, -half])


def t64(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def densities() -> dict[str, tuple[GaussianMixture, Tensor]]:
    """Density and the points x, by name."""
    line = GaussianMixture.isotropic(t64([[0.0]]), 0.5)
    plane = GaussianMixture(t64([[0.0, 0.0]]), t64([[[0.4, 0.2], [0.2, 0.2]]]))
    means = t64([[-0.6, 0.2], [0.5, 0.5], [0.1, -0.7]])
    covariances = t64([[[0.09, 0.03], [0.03, 0.05]], [[0.04, -0.01], [-0.01, 0.12]], [[0.16, 0.0], [0.0, 0.04]]])
    mixture = GaussianMixture(means, covariances, t64([0.5, 0.3, 0.2]))
    points = t64([[0.1, 0.2], [-0.9, 0.7], [0.7, -0.9]])
    return {
        "Gaussian on the line": (line, t64([[0.3], [-0.6], [1.2]])),
        "Gaussian in the plane": (plane, points),
        "Mixture in the plane": (mixture, points),
    }


def truth(density: GaussianMixture, x: Tensor, h: float) -> tuple[Tensor, Tensor]:
    """Mean (D,) and total variance of p(y) N(y; x, h^2) / Z, summed over a grid finer than half a bandwidth."""
    axis = torch.linspace(-4, 4, 400 if density.dim > 1 else 4000, dtype=torch.float64)
    y = torch.cartesian_prod(*[axis] * density.dim).reshape(-1, density.dim)
    mass = (density.log_prob(y) - (y - x).square().sum(-1) / (2 * h**2)).softmax(0)
    mean = mass @ y
    return mean, mass @ (y - mean).square().sum(-1)


def measure(
    density: GaussianMixture, points: Tensor, truths: list[tuple[Tensor, Tensor]], h: float, steps: int, name: str
) -> str:
    """One cell: relative error of the mean shift, its cosine to the true shift, variance over the true variance."""
    denoiser = MixtureDenoiser(density)
    options = ProductOptions(data_variance=float(density.covariances.diagonal(dim1=1, dim2=2).mean()))
    sampler = PRODUCT_SAMPLERS[name].load().build(Grid(karras_sigmas(steps, 0.002, 5.0)), options, denoiser)
    rows = 2 * NOISES
    try:
        y = torch.stack([sampler(denoiser, x.expand(rows, -1), h, rng=Antithetic(0, rows)) for x in points])
    except UnstableError:
        return "diverges"
    shift = torch.stack([mean for mean, _ in truths]) - points
    estimated = y.mean(1) - points
    error = float((estimated - shift).norm() / shift.norm())
    cosine = float(torch.cosine_similarity(shift, estimated).mean())
    variances = (y - y.mean(1, keepdim=True)).square().sum(-1).mean(1)
    ratio = float((variances / torch.stack([variance for _, variance in truths])).mean())
    return f"{error:.3f} / {cosine:.3f} / {ratio:.2f}"


def table(density: GaussianMixture, points: Tensor, names: Sequence[str], bandwidths: Sequence[float]) -> str:
    """A row for every sampler and number of steps, a column for every bandwidth."""
    lines = [
        "| sampler | T | " + " | ".join(f"h = {h}" for h in bandwidths) + " |",
        "|---|---|" + "---|" * len(bandwidths),
    ]
    truths = {h: [truth(density, x, h) for x in points] for h in bandwidths}
    for name in names:
        for steps in STEPS[:1] if name == "posterior_mean" else STEPS:
            cells = [measure(density, points, truths[h], h, steps, name) for h in bandwidths]
            lines.append(f"| `{name}` | {'-' if name == 'posterior_mean' else steps} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Print a table for each density, and one for wide kernels."""
    torch.set_num_threads(1)
    for title, (density, points) in densities().items():
        print(f"### {title}\n\n{table(density, points, list(PRODUCT_SAMPLERS), BANDWIDTHS)}\n")
    print(f"### {title}, wide kernels\n\n{table(density, points, ['exact', 'exponential_inverted'], WIDE)}")


if __name__ == "__main__":
    main()
