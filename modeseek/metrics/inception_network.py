"""The Inception network of the Fréchet inception distance, up to its 2048 pooled features.

Szegedy et al. 2016 (Inception-v3) as in TensorFlow's graph of 2015-12-05, whose weights every published FID uses. It is
not torchvision's network: the averages do not count the padding, and the last block takes a maximum where the article
takes an average. Names are the keys of the weights file.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Conv(nn.Module):
    """Convolution without bias, normalisation by running statistics, rectifier."""

    def __init__(
        self, width: int, out: int, kernel: int | tuple[int, int], stride: int = 1, padding: str = "same"
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, out, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=0.001)  # TensorFlow's

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) -> (B, out, H', W')."""
        return F.relu(self.bn(self.conv(x)))


def mean3(x: Tensor) -> Tensor:
    """Average over 3 x 3; at the border over the pixels that exist, as TensorFlow's."""
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def max3(x: Tensor) -> Tensor:
    """Maximum over 3 x 3."""
    return F.max_pool2d(x, 3, stride=1, padding=1)


def halved(x: Tensor) -> Tensor:
    """Maximum over 3 x 3 at every second pixel, no padding."""
    return F.max_pool2d(x, 3, stride=2)


class MixedA(nn.Module):
    """35 x 35: 1x1, 5x5, two 3x3, average; (B, width, H, W) -> (B, 224 + pooled, H, W)."""

    def __init__(self, width: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = Conv(width, 64, 1)
        self.branch5x5_1, self.branch5x5_2 = Conv(width, 48, 1), Conv(48, 64, 5)
        self.branch3x3dbl_1, self.branch3x3dbl_2, self.branch3x3dbl_3 = (
            Conv(width, 64, 1),
            Conv(64, 96, 3),
            Conv(96, 96, 3),
        )
        self.branch_pool = Conv(width, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Branches side by side."""
        five = self.branch5x5_2(self.branch5x5_1(x))
        threes = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, threes, self.branch_pool(mean3(x))], 1)


class MixedB(nn.Module):
    """35 x 35 to 17 x 17; (B, width, 35, 35) -> (B, 480 + width, 17, 17)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch3x3 = Conv(width, 384, 3, 2, "valid")
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(width, 64, 1), Conv(64, 96, 3)
        self.branch3x3dbl_3 = Conv(96, 96, 3, 2, "valid")

    def forward(self, x: Tensor) -> Tensor:
        """Branches side by side."""
        threes = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), threes, halved(x)], 1)


class MixedC(nn.Module):
    """17 x 17: 7x7 in rows and columns, once and twice; (B, 768, H, W) -> (B, 768, H, W)."""

    def __init__(self, inner: int) -> None:
        super().__init__()
        row, column = (1, 7), (7, 1)
        self.branch1x1 = Conv(768, 192, 1)
        self.branch7x7_1, self.branch7x7_2 = Conv(768, inner, 1), Conv(inner, inner, row)
        self.branch7x7_3 = Conv(inner, 192, column)
        self.branch7x7dbl_1, self.branch7x7dbl_2 = Conv(768, inner, 1), Conv(inner, inner, column)
        self.branch7x7dbl_3, self.branch7x7dbl_4 = Conv(inner, inner, row), Conv(inner, inner, column)
        self.branch7x7dbl_5 = Conv(inner, 192, row)
        self.branch_pool = Conv(768, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Branches side by side."""
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        twice = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        twice = self.branch7x7dbl_5(self.branch7x7dbl_4(twice))
        return torch.cat([self.branch1x1(x), seven, twice, self.branch_pool(mean3(x))], 1)


class MixedD(nn.Module):
    """17 x 17 to 8 x 8; (B, 768, 17, 17) -> (B, 1280, 8, 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = Conv(768, 192, 1), Conv(192, 320, 3, 2, "valid")
        self.branch7x7x3_1, self.branch7x7x3_2 = Conv(768, 192, 1), Conv(192, 192, (1, 7))
        self.branch7x7x3_3, self.branch7x7x3_4 = Conv(192, 192, (7, 1)), Conv(192, 192, 3, 2, "valid")

    def forward(self, x: Tensor) -> Tensor:
        """Branches side by side."""
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([three, seven, halved(x)], 1)


class MixedE(nn.Module):
    """8 x 8: 3x3 split into rows and columns side by side; (B, width, 8, 8) -> (B, 2048, 8, 8).

    Args:
        width: channels of the input.
        last: the last block, whose pooling is a maximum.
    """

    def __init__(self, width: int, last: bool) -> None:
        super().__init__()
        row, column = (1, 3), (3, 1)
        self.branch1x1 = Conv(width, 320, 1)
        self.branch3x3_1 = Conv(width, 384, 1)
        self.branch3x3_2a, self.branch3x3_2b = Conv(384, 384, row), Conv(384, 384, column)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(width, 448, 1), Conv(448, 384, 3)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = Conv(384, 384, row), Conv(384, 384, column)
        self.branch_pool = Conv(width, 192, 1)
        self.pool = max3 if last else mean3

    def forward(self, x: Tensor) -> Tensor:
        """Branches side by side."""
        three, twice = self.branch3x3_1(x), self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        threes = [self.branch3x3_2a(three), self.branch3x3_2b(three)]
        twices = [self.branch3x3dbl_3a(twice), self.branch3x3dbl_3b(twice)]
        return torch.cat([self.branch1x1(x), *threes, *twices, self.branch_pool(self.pool(x))], 1)


class InceptionNetwork(nn.Module):
    """Pictures (B, 3, 299, 299) in [-1, 1] to pooled features (B, 2048); ``fc`` is in the file and not used."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Conv(3, 32, 3, 2, "valid")
        self.Conv2d_2a_3x3 = Conv(32, 32, 3, 1, "valid")
        self.Conv2d_2b_3x3 = Conv(32, 64, 3)
        self.Conv2d_3b_1x1 = Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = Conv(80, 192, 3, 1, "valid")
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = MixedA(192, 32), MixedA(256, 64), MixedA(288, 64)
        self.Mixed_6a = MixedB(288)
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = MixedC(128), MixedC(160), MixedC(160), MixedC(192)
        self.Mixed_7a = MixedD()
        self.Mixed_7b, self.Mixed_7c = MixedE(1280, last=False), MixedE(2048, last=True)
        self.fc = nn.Linear(2048, 1008)

    def forward(self, x: Tensor) -> Tensor:
        """Mean over the 8 x 8 positions of the last block ("pool3")."""
        x = halved(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))))
        x = halved(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)))
        x = self.Mixed_6a(self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x))))
        x = self.Mixed_7a(self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(x)))))
        pooled: Tensor = self.Mixed_7c(self.Mixed_7b(x)).mean((2, 3))
        return pooled
