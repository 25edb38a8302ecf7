"""PP-MattingV2 on STDC1, as PaddleSeg publishes it: real-time matting of people without a trimap."""

from __future__ import annotations

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from streammatte.networks.backbones.stdc import STDC1
from streammatte.networks.layers import MLFF, MattingHead, resize
from streammatte.networks.pyramid import DoublePyramidPool

__all__ = ["PPMattingV2"]

CONTEXT = 256
"""Channels of the context that every coarse fusion receives."""
DECODER = (128, 96, 64, 32, 16)
"""Channels after the fusions at 32x, 16x, 8x, 4x and 2x."""


class PPMattingV2(nn.Layer):
    """Alpha of the people in an image; sides multiples of 32."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = STDC1()
        c2, c4, c8, c16, c32 = self.backbone.feat_channels
        d32, d16, d8, d4, d2 = DECODER
        self.dpp = DoublePyramidPool(c4 + c8 + c16 + c32, 256, CONTEXT, merge="add")
        self.mlff32x = MLFF([c32, CONTEXT], [CONTEXT, CONTEXT], d32)
        self.mlff16x = MLFF([c16, d32, CONTEXT], [d32] * 3, d16)
        self.mlff8x = MLFF([c8, d16, CONTEXT], [d16] * 3, d8)
        self.mlff4x = MLFF([c4, d8, 3], [d8, d8, 3], d4)
        self.mlff2x = MLFF([c2, d4, 3], [d4, d4, 3], d2)
        self.matting_head_mlff8x = MattingHead(d8, 32)
        self.matting_head_mlff2x = MattingHead(d2 + 3, 8, mid_layers=2)

    def forward(self, image: Tensor, trimap: Tensor | None = None) -> Tensor | dict[str, Tensor]:
        """As :func:`streammatte.networks.create` describes it; in training mode also ``alpha_8x`` (N, 1, H/8, W/8)."""
        f2, f4, f8, f16, f32 = self.backbone(image)
        context = self.dpp([f4, f8, f16, f32])
        x = self.mlff32x([f32, context])
        x = self.mlff16x([f16, x, context])
        eighth = self.mlff8x([f8, x, context])
        x = self.mlff4x([f4, eighth, F.avg_pool2d(image, 4, 4)])
        x = self.mlff2x([f2, x, F.avg_pool2d(image, 2, 2)])
        alpha = self.matting_head_mlff2x(paddle.concat([resize(x, image), image], axis=1))
        if self.training:
            return {"alpha": alpha, "alpha_8x": self.matting_head_mlff8x(eighth)}
        return alpha
