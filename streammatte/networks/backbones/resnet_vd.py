"""ResNet-D with 34 or 50 layers (He et al., Bag of Tricks for Image Classification, 2019)."""

from __future__ import annotations

import paddle.nn.functional as F
from paddle import Tensor, nn

from streammatte.networks.layers import ConvBN, ConvBNReLU

__all__ = ["BasicBlock", "ResNetVD", "resnet34_vd", "resnet50_vd"]

DEPTHS = (3, 4, 6, 3)
"""Blocks in each stage, for 34 and for 50 layers."""
FILTERS = (64, 128, 256, 512)
"""Filters in each stage's 3x3 convolutions."""


class _Block(nn.Layer):
    """A residual block; ``short`` is there where the input must change its channels or its size.

    Where it must change its size it is averaged down first: the "D" of the name.
    """

    def __init__(self, pooled: bool) -> None:
        super().__init__()
        self.pooled = pooled

    def branch(self, x: Tensor) -> Tensor:
        """What is added to the input; defined by a subclass."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, H / stride, W / stride)."""
        y = self.branch(x)
        if hasattr(self, "short"):
            x = self.short(F.avg_pool2d(x, 2, 2) if self.pooled else x)
        return F.relu(x + y)


class BasicBlock(_Block):
    """Two 3x3 convolutions.

    Parameters
    ----------
    in_channels, filters : int
        Channels of input and output.
    stride : int
        Of the first convolution.
    project : bool
        Bring the shortcut to the output's shape.
    """

    expansion = 1

    def __init__(self, in_channels: int, filters: int, stride: int = 1, project: bool = False) -> None:
        super().__init__(pooled=stride > 1)
        self.conv0 = ConvBNReLU(in_channels, filters, 3, stride=stride)
        self.conv1 = ConvBN(filters, filters, 3)
        if project:
            self.short = ConvBN(in_channels, filters, 1)

    def branch(self, x: Tensor) -> Tensor:
        """Two convolutions."""
        return self.conv1(self.conv0(x))


class _Bottleneck(_Block):
    """1x1, 3x3 and 1x1 convolutions."""

    expansion = 4

    def __init__(self, in_channels: int, filters: int, stride: int = 1, project: bool = False) -> None:
        super().__init__(pooled=stride > 1)
        self.conv0 = ConvBNReLU(in_channels, filters, 1)
        self.conv1 = ConvBNReLU(filters, filters, 3, stride=stride)
        self.conv2 = ConvBN(filters, filters * self.expansion, 1)
        if project:
            self.short = ConvBN(in_channels, filters * self.expansion, 1)

    def branch(self, x: Tensor) -> Tensor:
        """Three convolutions."""
        return self.conv2(self.conv1(self.conv0(x)))


class ResNetVD(nn.Layer):
    """Maps at 2x, 4x, 8x, 16x and 32x; ``block`` is :class:`BasicBlock` or the bottleneck."""

    def __init__(self, block: type[BasicBlock] | type[_Bottleneck]) -> None:
        super().__init__()
        self.feat_channels = (64, *(filters * block.expansion for filters in FILTERS))
        self.conv1_1 = ConvBNReLU(3, 32, 3, stride=2)
        self.conv1_2 = ConvBNReLU(32, 32, 3)
        self.conv1_3 = ConvBNReLU(32, 64, 3)
        self.stages: list[list[nn.Layer]] = []
        in_channels = 64
        for level, (depth, filters) in enumerate(zip(DEPTHS, FILTERS, strict=True)):
            self.stages.append([])
            for index in range(depth):
                stride = 2 if index == 0 and level > 0 else 1
                layer = block(in_channels, filters, stride, project=index == 0)
                self.stages[-1].append(self.add_sublayer(f"bb_{level}_{index}", layer))
                in_channels = filters * block.expansion

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, 3, H, W) -> five maps, finest first."""
        x = self.conv1_3(self.conv1_2(self.conv1_1(x)))
        maps = [x]
        x = F.max_pool2d(x, 3, 2, 1)
        for stage in self.stages:
            for block in stage:
                x = block(x)
            maps.append(x)
        return maps


def resnet34_vd() -> ResNetVD:
    """34 layers, of basic blocks."""
    return ResNetVD(BasicBlock)


def resnet50_vd() -> ResNetVD:
    """50 layers, of bottlenecks."""
    return ResNetVD(_Bottleneck)
