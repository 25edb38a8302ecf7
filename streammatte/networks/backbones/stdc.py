"""STDC1 (Fan et al., Rethinking BiSeNet for Real-time Semantic Segmentation, 2021)."""

from __future__ import annotations

from itertools import pairwise

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

__all__ = ["STDC1"]

BLOCKS = 2
"""Short-term dense concatenation modules in each of the three stages; STDC2 has 4, 5 and 3."""


class _ConvBNReLU(nn.Layer):
    """Convolution without bias, batch norm and ReLU, under the names ``conv`` and ``bn``."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2D(in_channels, out_channels, kernel, stride, kernel // 2, bias_attr=False)
        self.bn = nn.BatchNorm2D(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class _DenseConcat(nn.Layer):
    """Four convolutions in a row, each with half the channels of the one before; all their outputs are concatenated."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        half, quarter, eighth = (out_channels // part for part in (2, 4, 8))
        self.conv_list = nn.LayerList(
            [
                _ConvBNReLU(in_channels, half, 1),
                _ConvBNReLU(half, quarter),
                _ConvBNReLU(quarter, eighth),
                _ConvBNReLU(eighth, eighth),
            ]
        )
        self.stride = stride
        if stride == 2:
            depthwise = nn.Conv2D(half, half, 3, 2, 1, groups=half, bias_attr=False)
            self.avd_layer = nn.Sequential(depthwise, nn.BatchNorm2D(half))

    def forward(self, x: Tensor) -> Tensor:
        first, *rest = self.conv_list
        x = first(x)
        maps = [F.avg_pool2d(x, 3, 2, 1) if self.stride == 2 else x]
        x = self.avd_layer(x) if self.stride == 2 else x
        for layer in rest:
            x = layer(x)
            maps.append(x)
        return paddle.concat(maps, axis=1)


class STDC1(nn.Layer):
    """Maps at 2x, 4x, 8x, 16x and 32x."""

    feat_channels = (32, 64, 256, 512, 1024)

    def __init__(self) -> None:
        super().__init__()
        widths = self.feat_channels
        layers: list[nn.Layer] = [_ConvBNReLU(3, widths[0], stride=2), _ConvBNReLU(widths[0], widths[1], stride=2)]
        for in_channels, out_channels in pairwise(widths[1:]):
            layers.append(_DenseConcat(in_channels, out_channels, 2))
            layers += [_DenseConcat(out_channels, out_channels, 1) for _ in range(BLOCKS - 1)]
        self.features = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, 3, H, W) -> five maps, finest first."""
        maps = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index < 2 or (index - 1) % BLOCKS == 0:
                maps.append(x)
        return maps
