"""Compositing by nerfacc's CUDA kernels; nothing else of a picture changes."""

from __future__ import annotations

import torch
from torch import Tensor

from modeseek.errors import UsageError
from modeseek.generators.nerf.compositing import Composite


def composite() -> Composite:
    """NERF-1 as ``compositing.composite``, by nerfacc >= 0.5 (Li et al. 2023), at the evaluated samples alone.

    Its kernels take float32 on CUDA; pictures agree with torch's to its precision.

    Raises:
        UsageError: if nerfacc is not installed.
    """
    try:
        from nerfacc import accumulate_along_rays, render_weight_from_density
    except ImportError as error:
        raise UsageError(
            'backend "nerfacc" needs the package of that name (pip install nerfacc) and CUDA; '
            f'"torch" needs neither ({error})'
        ) from error

    def call(density: Tensor, at: Tensor, length: Tensor, log_ahead: Tensor, stop: float) -> tuple[Tensor, Tensor]:
        rays, n = length.shape
        ray, pieces = at // n, length.flatten()[at]
        w, passes, _ = render_weight_from_density(
            torch.zeros_like(pieces), pieces, density, ray_indices=ray, n_rays=rays, prefix_trans=log_ahead.exp()[ray]
        )
        seen = passes.detach() >= stop
        depth = torch.where(seen, density * pieces, 0)
        through = accumulate_along_rays(depth, None, ray_indices=ray, n_rays=rays)[:, 0]
        return torch.where(seen, w, 0), log_ahead - through

    return call
