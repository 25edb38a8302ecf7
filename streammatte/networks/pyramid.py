"""PP-MattingV2's double pyramid pooling: all levels averaged down to one coarse grid, that grid pooled to a few cells,
attention among the cells, and the result laid back over the grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from streammatte.networks.layers import AdaptiveAvgPool2D, ConvBN, ConvBNReLU, resize

__all__ = ["DoublePyramidPool"]

KEY_CHANNELS = 16
"""Channels of a head's keys, as published."""
HEADS = 8
"""Attention heads, as published."""


class _Norm1x1(nn.Layer):
    """1x1 convolution without bias and batch norm, under the names ``c`` and ``bn``."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.c = nn.Conv2D(in_channels, out_channels, 1, bias_attr=False)
        self.bn = nn.BatchNorm2D(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.c(x))


class _Attention(nn.Layer):
    """Attention among all cells; without the usual 1 / sqrt(key channels), as the published network computes it."""

    def __init__(self, channels: int, ratio: int) -> None:
        super().__init__()
        self.value_channels = ratio * KEY_CHANNELS
        inner = self.value_channels * HEADS
        self.to_q = _Norm1x1(channels, KEY_CHANNELS * HEADS)
        self.to_k = _Norm1x1(channels, KEY_CHANNELS * HEADS)
        self.to_v = _Norm1x1(channels, inner)
        self.proj = nn.Sequential(nn.ReLU6(), _Norm1x1(inner, channels))

    def forward(self, x: Tensor) -> Tensor:
        cells = x.shape[2] * x.shape[3]
        query = self.to_q(x).reshape([0, HEADS, KEY_CHANNELS, cells])
        key = self.to_k(x).reshape([0, HEADS, KEY_CHANNELS, cells])
        value = self.to_v(x).reshape([0, HEADS, self.value_channels, cells])
        weights = F.softmax(paddle.matmul(query, key, transpose_x=True), axis=-1)
        mixed = paddle.matmul(value, weights, transpose_y=True)
        return self.proj(mixed.reshape([0, self.value_channels * HEADS, x.shape[2], x.shape[3]]))


class _MLP(nn.Layer):
    """Two 1x1 convolutions with a 3x3 depthwise one and a ReLU6 between."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = _Norm1x1(channels, hidden)
        self.dwconv = nn.Conv2D(hidden, hidden, 3, padding=1, groups=hidden)
        self.fc2 = _Norm1x1(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.relu6(self.dwconv(self.fc1(x))))


class _Block(nn.Layer):
    """Attention, then the MLP, each added to its input."""

    def __init__(self, channels: int, attention_ratio: int, mlp_ratio: int) -> None:
        super().__init__()
        self.attn = _Attention(channels, attention_ratio)
        self.mlp = _MLP(channels, channels * mlp_ratio)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(x)
        return x + self.mlp(x)


class _Blocks(nn.Layer):
    """Blocks in a row, under the name ``transformer_blocks``."""

    def __init__(self, blocks: Sequence[nn.Layer]) -> None:
        super().__init__()
        self.transformer_blocks = nn.LayerList(blocks)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.transformer_blocks:
            x = block(x)
        return x


class DoublePyramidPool(nn.Layer):
    """Context of the whole image on the grid of half the coarsest level.

    Parameters
    ----------
    in_channels : int
        Channels of all levels together.
    mid_channels, out_channels : int
    bins : sequence of int
        Cells a side of the second pyramid's levels.
    blocks : int
        Transformer blocks a level.
    merge : {"concat", "add"}
        How the second pyramid's levels join its input.
    """

    def __init__(
        self,
        in_channels: int,
        mid_channels: int = 256,
        out_channels: int = 512,
        bins: Sequence[int] = (2, 4, 6),
        blocks: int = 1,
        attention_ratio: int = 2,
        mlp_ratio: int = 2,
        merge: str = "concat",
    ) -> None:
        super().__init__()
        self.merge = merge
        self.conv_mid = ConvBN(in_channels, mid_channels, 1, bias=True)

        def stage(size: int) -> nn.Layer:
            row = [_Block(mid_channels, attention_ratio, mlp_ratio) for _ in range(blocks)]
            return nn.Sequential(AdaptiveAvgPool2D(size), _Blocks(row))

        self.pp2 = nn.LayerList([stage(size) for size in bins])
        joined = mid_channels if merge == "add" else mid_channels * (1 + len(bins))
        self.conv_out = ConvBNReLU(joined, out_channels, 1, bias=True)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Levels (N, C_i, h / 2**i, w / 2**i), finest first -> (N, out, ...) at half the coarsest, rounded down."""
        steps = [2 ** (len(levels) - i) for i in range(len(levels))]
        pooled = [F.avg_pool2d(x, step, step) for x, step in zip(levels, steps, strict=True)]
        grid = self.conv_mid(paddle.concat(pooled, axis=1))
        stages = [resize(stage(grid), grid) for stage in self.pp2]
        parts = [grid, *stages[::-1]]
        return self.conv_out(sum(parts[1:], grid) if self.merge == "add" else paddle.concat(parts, axis=1))
