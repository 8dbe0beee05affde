"""Where a camera stands, as seen from the object."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from modeseek.errors import UsageError


@dataclass(frozen=True)
class Direction:
    """Where a camera stands, as seen from the object.

    Attributes:
        azimuth: degrees, (B,); 0 is in front of the object, 90 at its own left, 180 behind it; any turn is fine.
        elevation: degrees, (B,); 0 is level with the object, 90 straight above it.

    Raises:
        UsageError: if they are not two vectors of one length.
    """

    azimuth: Tensor
    elevation: Tensor

    def __post_init__(self) -> None:
        if self.azimuth.ndim != 1 or self.azimuth.shape != self.elevation.shape:
            raise UsageError(
                f"azimuth and elevation must both be (B,), got {(*self.azimuth.shape,)} and {(*self.elevation.shape,)}"
            )

    @property
    def turn(self) -> Tensor:
        """How far from the front, degrees in [0, 180], (B,): left and right are the same to a prompt."""
        return ((self.azimuth + 180) % 360 - 180).abs()
