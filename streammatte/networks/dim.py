"""Deep Image Matting on VGG16 (Xu et al. 2017), with bilinear enlargement for unpooling; needs a trimap."""

from __future__ import annotations

from collections.abc import Sequence

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from streammatte.networks.backbones.vgg import VGG16
from streammatte.networks.blocks import require_trimap, with_trimap
from streammatte.networks.layers import ConvBNReLU, resize

__all__ = ["DIM"]

DECODER = (512, 256, 128, 64, 64)
"""Channels after each step of the decoder, coarsest first."""


class _Up(nn.Layer):
    """Enlarges to a finer map, adds that, then a 5x5 convolution."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = ConvBNReLU(in_channels, out_channels, 5)

    def forward(self, x: Tensor, finer: Tensor) -> Tensor:
        return self.conv(resize(x, finer) + finer)


class _Decoder(nn.Layer):
    """From the coarsest map to a first alpha at full size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.deconv6 = nn.Conv2D(channels, channels, 1, bias_attr=False)
        for level, (in_channels, out_channels) in enumerate(zip((channels, *DECODER), DECODER, strict=False)):
            setattr(self, f"deconv{5 - level}", _Up(in_channels, out_channels))
        self.alpha_conv = nn.Conv2D(DECODER[-1], 1, 5, padding=2, bias_attr=False)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        x = self.deconv6(maps[-1])
        for level in range(5, 0, -1):
            x = getattr(self, f"deconv{level}")(x, maps[level - 1])
        return F.sigmoid(self.alpha_conv(x))


class _Refine(nn.Layer):
    """What the first alpha lacks."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = ConvBNReLU(4, 64, 3)
        self.conv2 = ConvBNReLU(64, 64, 3)
        self.conv3 = ConvBNReLU(64, 64, 3)
        self.alpha_pred = ConvBNReLU(64, 1, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.alpha_pred(self.conv3(self.conv2(self.conv1(x))))


class DIM(nn.Layer):
    """Alpha of what a trimap marks; sides multiples of 32."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = VGG16(4)
        self.decoder = _Decoder(self.backbone.feat_channels[-1])
        self.refine = _Refine()

    def forward(self, image: Tensor, trimap: Tensor | None = None) -> Tensor | dict[str, Tensor]:
        """As :func:`streammatte.networks.create` describes it.

        In training mode ``alpha`` is not clipped, and ``alpha_raw`` (N, 1, H, W) is alpha before the refinement.
        Raises ModelError without a trimap.
        """
        raw = self.decoder(self.backbone(with_trimap(image, require_trimap(trimap, self))))
        alpha = raw + self.refine(paddle.concat([image, raw], axis=1))
        if self.training:
            return {"alpha": alpha, "alpha_raw": raw}
        return paddle.clip(alpha, 0.0, 1.0)
