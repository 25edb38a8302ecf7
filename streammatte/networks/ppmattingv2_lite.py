"""The embedded real-time network: PP-MattingV2's decoder, slimmed for the CPU, on EfficientNet-Lite0.

PP-MattingV2 is described in PaddleSeg's model zoo. There most of the time goes into the fusion at 4x and 2x and the
head at full size; here those are plain, and alpha is computed at half the input's size.
"""

from __future__ import annotations

import paddle.nn.functional as F
from paddle import Tensor, nn

from streammatte.networks.efficientnet_lite import EfficientNetLite0
from streammatte.networks.layers import MLFF, ConvBN, ConvBNReLU, MattingHead, resize
from streammatte.networks.pyramid import DoublePyramidPool

__all__ = ["PPMattingV2Lite"]

DPP_CHANNELS = 128
"""Channels of the context that every fusion level receives."""


class _Fuse(nn.Layer):
    """Adds a coarser map to a finer one: ``conv(relu(skip(fine) + up(reduce(coarse))))``."""

    def __init__(self, fine: int, coarse: int, channels: int) -> None:
        super().__init__()
        self.reduce = ConvBN(coarse, channels, 1)
        self.skip = ConvBN(fine, channels, 1) if fine != channels else nn.Identity()
        self.conv = ConvBNReLU(channels, channels, 3)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        return self.conv(F.relu(self.skip(fine) + resize(self.reduce(coarse), fine)))


class PPMattingV2Lite(nn.Layer):
    """Alpha of the people in an image; sides multiples of 32."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = EfficientNetLite0()
        c2, c4, c8, c16, c32 = self.backbone.feat_channels
        context = DPP_CHANNELS
        self.dpp = DoublePyramidPool(c4 + c8 + c16 + c32, 256, context, merge="add")
        self.mlff32x = MLFF([c32, context], [128, 128], 96, "add")
        self.mlff16x = MLFF([c16, 96, context], [96, 96, 96], 64, "add")
        self.mlff8x = MLFF([c8, 64, context], [64, 64, 64], 64, "add")
        self.fuse4x = _Fuse(c4, 64, 32)
        self.fuse2x = _Fuse(c2, 32, 16)
        self.matting_head_mlff8x = MattingHead(64, 32)
        self.head = MattingHead(16, 16)

    def forward(self, image: Tensor, trimap: Tensor | None = None) -> Tensor | dict[str, Tensor]:
        """As :func:`streammatte.networks.create` describes it; in training mode also ``alpha_8x`` (N, 1, H/8, W/8)."""
        half, eighth = self._decode(image)
        alpha = resize(self.head(half), image)
        if self.training:
            return {"alpha": alpha, "alpha_8x": self.matting_head_mlff8x(eighth)}
        return alpha

    def alpha_half(self, image: Tensor) -> Tensor:
        """Alpha (N, 1, H/2, W/2) float32 in [0, 1], before the enlargement: what is exported."""
        return self.head(self._decode(image)[0])

    def _decode(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Decoder features at 2x and at 8x."""
        f2, f4, f8, f16, f32 = self.backbone(image)
        context = self.dpp([f4, f8, f16, f32])
        x = self.mlff32x([f32, context])
        x = self.mlff16x([f16, x, context])
        eighth = self.mlff8x([f8, x, context])
        return self.fuse2x(f2, self.fuse4x(f4, eighth)), eighth
