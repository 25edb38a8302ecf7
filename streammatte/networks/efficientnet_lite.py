"""EfficientNet-Lite0 (Tan and Le 2019; the Lite variant has no squeeze-and-excite and uses ReLU6) on a plain stem."""

from __future__ import annotations

import paddle.nn.functional as F
from paddle import Tensor, nn

__all__ = ["EfficientNetLite0"]

BLOCK_EPSILON = 1e-3
"""Batch norm's epsilon in the blocks: that of the published weights."""
EXPANSION = 6
"""Channels inside a block for each channel that enters."""
STAGES = ((2, 5, 2, 40), (3, 3, 2, 80), (2, 5, 1, 112), (3, 5, 2, 192))
"""(blocks, kernel, stride of the first, channels) from 4x on; the published stages without the first two."""

LEVEL_ENDS = (2, 7, 10)
"""Blocks counted from 1 after which the 8x, 16x and 32x maps are taken."""


class _ConvNorm(nn.Layer):
    """Convolution without bias and batch norm, under the names ``conv`` and ``bn``."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1, epsilon: float = 1e-5
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2D(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias_attr=False)
        self.bn = nn.BatchNorm2D(out_channels, epsilon=epsilon)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))


class _Stem(nn.Layer):
    """Plain convolutions down to 4x, where inverted residuals are slow on a CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv2x = _ConvNorm(3, 16, 3, stride=2)
        self.conv4x = _ConvNorm(16, 48, 3, stride=2)
        self.reduce = _ConvNorm(48, 24, 1)
        self.expand = _ConvNorm(24, 48, 3)
        self.project = _ConvNorm(48, 24, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        half = F.relu(self.conv2x(x))
        reduced = self.reduce(F.relu(self.conv4x(half)))
        return half, reduced + self.project(F.relu(self.expand(reduced)))


class _InvertedResidual(nn.Layer):
    """Expand, depthwise, project; added to its input where shapes agree (Sandler et al. 2018)."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        inner = in_channels * EXPANSION
        self.expand = _ConvNorm(in_channels, inner, 1, epsilon=BLOCK_EPSILON)
        self.depthwise = _ConvNorm(inner, inner, kernel, stride, groups=inner, epsilon=BLOCK_EPSILON)
        self.project = _ConvNorm(inner, out_channels, 1, epsilon=BLOCK_EPSILON)
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(F.relu6(self.depthwise(F.relu6(self.expand(x)))))
        return x + y if self.residual else y


class EfficientNetLite0(nn.Layer):
    """Feature maps at 2x, 4x, 8x, 16x and 32x; ``feat_channels`` are their numbers of channels."""

    feat_channels = (16, 24, 40, 112, 192)

    def __init__(self) -> None:
        super().__init__()
        self.stem = _Stem()
        blocks: list[nn.Layer] = []
        in_channels = self.feat_channels[1]
        for count, kernel, stride, out_channels in STAGES:
            for i in range(count):
                blocks.append(_InvertedResidual(in_channels, out_channels, kernel, stride if i == 0 else 1))
                in_channels = out_channels
        self.blocks = nn.LayerList(blocks)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> five maps, finest first."""
        half, quarter = self.stem(x)
        maps = [quarter]
        for block in self.blocks:
            maps.append(block(maps[-1]))
        return (half, quarter, *(maps[i] for i in LEVEL_ENDS))
