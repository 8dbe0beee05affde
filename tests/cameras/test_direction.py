"""Where a camera stands, as a prompt sees it."""

import pytest
import torch

from modeseek.cameras import Direction
from modeseek.errors import UsageError


def test_the_turn_is_the_same_left_and_right() -> None:
    direction = Direction(torch.tensor([-30.0, 30.0, 190.0, 540.0]), torch.zeros(4))
    torch.testing.assert_close(direction.turn, torch.tensor([30.0, 30.0, 170.0, 180.0]))


@pytest.mark.parametrize("elevation", [torch.zeros(3), torch.zeros(2, 1), torch.tensor(0.0)])
def test_two_vectors_of_one_length(elevation) -> None:
    with pytest.raises(UsageError, match="must both be"):
        Direction(torch.zeros(2), elevation)
