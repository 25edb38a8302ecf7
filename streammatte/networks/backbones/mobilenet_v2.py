"""MobileNetV2 (Sandler et al. 2018)."""

from __future__ import annotations

import paddle.nn.functional as F
from paddle import Tensor, nn

from streammatte.networks.layers import ConvBN

__all__ = ["MobileNetV2"]

STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""(expansion, channels, blocks, stride of the first), as published."""
TAPS = (0, 1, 2, 4)
"""Stages whose maps are taken: the last ones at 2x, 4x, 8x and 16x."""


class _InvertedResidual(nn.Layer):
    """Expand, depthwise, project; added to its input if requested."""

    def __init__(self, in_channels: int, out_channels: int, expansion: int, stride: int, shortcut: bool) -> None:
        super().__init__()
        inner = in_channels * expansion
        self.shortcut = shortcut
        self._expand_conv = ConvBN(in_channels, inner, 1)
        self._bottleneck_conv = ConvBN(inner, inner, 3, stride=stride, groups=inner)
        self._linear_conv = ConvBN(inner, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self._linear_conv(F.relu6(self._bottleneck_conv(F.relu6(self._expand_conv(x)))))
        return x + y if self.shortcut else y


class _Stage(nn.Layer):
    """Blocks in a row, the first without shortcut."""

    def __init__(self, name: str, in_channels: int, setting: tuple[int, int, int, int]) -> None:
        super().__init__()
        expansion, channels, count, stride = setting
        self._first_block = _InvertedResidual(in_channels, channels, expansion, stride, shortcut=False)
        for index in range(1, count):
            block = _InvertedResidual(channels, channels, expansion, 1, shortcut=True)
            self.add_sublayer(f"{name}_{index + 1}", block)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.children():
            x = block(x)
        return x


class MobileNetV2(nn.Layer):
    """Maps at 2x, 4x, 8x, 16x and 32x."""

    feat_channels = (16, 24, 32, 96, 1280)

    def __init__(self) -> None:
        super().__init__()
        channels = 32
        self.conv1 = ConvBN(3, channels, 3, stride=2)
        self.stages = []
        for index, setting in enumerate(STAGES):
            name = f"conv{index + 2}"
            self.stages.append(self.add_sublayer(name, _Stage(name, channels, setting)))
            channels = setting[1]
        self.conv9 = ConvBN(channels, self.feat_channels[-1], 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, 3, H, W) -> five maps, finest first."""
        x = F.relu6(self.conv1(x))
        maps = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in TAPS:
                maps.append(x)
        return [*maps, F.relu6(self.conv9(x))]
