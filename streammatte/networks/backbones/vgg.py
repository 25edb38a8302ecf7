"""VGG16 without biases, with a fourth input channel for the trimap (Simonyan and Zisserman 2014; Xu et al. 2017)."""

from __future__ import annotations

import paddle.nn.functional as F
from paddle import Tensor, nn

__all__ = ["VGG16"]


class _Block(nn.Layer):
    """3x3 convolutions with ReLU."""

    def __init__(self, in_channels: int, out_channels: int, count: int) -> None:
        super().__init__()
        for index in range(count):
            width = in_channels if index == 0 else out_channels
            self.add_sublayer(f"_conv_{index + 1}", nn.Conv2D(width, out_channels, 3, padding=1, bias_attr=False))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = F.relu(layer(x))
        return x


class VGG16(nn.Layer):
    """Maps at 1x, 2x, 4x, 8x and 16x, and one at 32x."""

    feat_channels = (64, 128, 256, 512, 512, 512)

    def __init__(self, in_channels: int = 4) -> None:
        super().__init__()
        width = in_channels
        for index, (channels, count) in enumerate(zip(self.feat_channels, (2, 2, 3, 3, 3), strict=False)):
            self.add_sublayer(f"_conv_block_{index + 1}", _Block(width, channels, count))
            width = channels
        self._conv_6 = nn.Conv2D(width, self.feat_channels[-1], 3, padding=1, bias_attr=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, in, H, W) -> six maps, finest first."""
        *blocks, last = self.children()
        maps = []
        for block in blocks:
            maps.append(block(x))
            x = F.max_pool2d(maps[-1], 2, 2)
        return [*maps, F.relu(last(x))]
