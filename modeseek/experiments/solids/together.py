"""VSD's auxiliary for several fields under the same views: each view's pictures are a density of their own."""

from __future__ import annotations

from torch import Tensor

from modeseek.denoisers.base import Cond, Denoiser
from modeseek.denoisers.per_view import PerViewIdeal
from modeseek.errors import UsageError
from modeseek.estimators.vsd import Untrained
from modeseek.noise import Sigma


class Together(Untrained):
    """The exact score of the pictures of all fields from the row's view: NERF-4 with the fields' pictures as data.

    What ProlificDreamer's LoRA learns from the camera. One field gives back the drawn noise, and VSD is SDS.

    Args:
        fields: how many; rows come field by field, as ``Watched`` renders them.

    Raises:
        UsageError: if there is none.
    """

    def __init__(self, fields: int) -> None:
        if fields < 1:
            raise UsageError(f"there must be at least 1 field, got {fields}")
        self.fields = fields

    def denoiser(self, x: Tensor) -> Denoiser:
        """Of the renderings x (F * V, *event).

        Raises:
            UsageError: if the rows are not as many for each field.
        """
        if len(x) % self.fields:
            raise UsageError(f"there must be as many rows for each of {self.fields} fields, got {len(x)}")
        by_view = x.detach().reshape(self.fields, -1, *x.shape[1:]).transpose(0, 1)
        return _OfViews(by_view.repeat(self.fields, *[1] * x.ndim))


class _OfViews:
    """The denoiser of given pictures, whatever the condition."""

    def __init__(self, pictures: Tensor) -> None:
        self.pictures, self.ideal = pictures, PerViewIdeal()
        self.sigma_min, self.sigma_max = self.ideal.sigma_min, self.ideal.sigma_max

    def cost(self, sigma: Sigma) -> int:
        return 1

    def __call__(self, z: Tensor, sigma: Sigma, cond: Cond = None) -> Tensor:
        return self.ideal(z, sigma, self.pictures)
