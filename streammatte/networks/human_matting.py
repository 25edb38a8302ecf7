"""PP-HumanMatting: people in large images, decided at a quarter of the size and refined at the whole.

The two decoders are those of Glance and Focus (Li et al., Bridging Composite and Real, 2022), the refiner that of Lin
et al., Real-Time High-Resolution Background Matting, 2021, run over the whole image.
"""

from __future__ import annotations

from collections.abc import Sequence

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from streammatte.networks.backbones.resnet_vd import resnet34_vd
from streammatte.networks.blocks import PyramidPool, conv_up, decoder_stage, enlarge, fuse_by_class, shrink
from streammatte.networks.layers import ConvBNReLU

__all__ = ["HumanMatting"]

CONTEXT = 512
"""Channels of the pooled context and of the bridge."""
HIDDEN = 32
"""Channels that the focus decoder hands to the refiner beside alpha and its error."""
LEVELS = (5, 4, 3, 2, 1)
"""Decoder stages, coarsest first; stage n leaves its map at 2 ** (n - 1) times below the backbone's input."""
GLANCE = {5: (512, 256), 4: (256, 128), 3: (128, 64), 2: (128, 64), 1: (64, 64)}
"""Middle and output channels of a stage; the two decoders share them."""


def _last(out_channels: int) -> nn.Layer:
    """The stage at the full size of the backbone's input."""
    convs = [ConvBNReLU(64, 64, 3, bias=True) for _ in range(2)]
    return nn.Sequential(*convs, nn.Conv2D(64, out_channels, 3, padding=1))


class _Refiner(nn.Layer):
    """3x3 convolutions without padding at half and then at full size; the input is padded once for all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = ConvBNReLU(HIDDEN + 4 + 3, 24, 3, padding=0)
        self.conv2 = ConvBNReLU(24, 16, 3, padding=0)
        self.conv3 = ConvBNReLU(16 + 3, 12, 3, padding=0)
        self.conv4 = nn.Conv2D(12, 1, 3)

    def forward(self, image: Tensor, coarse: Tensor) -> Tensor:
        """The image and what is known at a quarter of its size -> alpha (N, 1, H, W), not clipped."""
        x = F.pad(paddle.concat([enlarge(coarse, 2), shrink(image, 2)], axis=1), [3, 3, 3, 3])
        x = self.conv2(self.conv1(x))
        x = enlarge(x, 2, "nearest")
        return self.conv4(self.conv3(paddle.concat([x, F.pad(image, [2, 2, 2, 2])], axis=1)))


class HumanMatting(nn.Layer):
    """Alpha of the people in an image; sides multiples of 128."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = resnet34_vd()
        self.refiner = _Refiner()
        channels = self.backbone.feat_channels
        coarsest = channels[-1]
        self.psp_module = PyramidPool(coarsest, CONTEXT)
        for level in LEVELS[1:]:
            setattr(self, f"psp{level}", conv_up(CONTEXT, GLANCE[level + 1][1], 2 ** (5 - level)))
        for level in LEVELS:
            in_channels = CONTEXT + coarsest if level == 5 else 2 * GLANCE[level + 1][1]
            setattr(self, f"decoder{level}_g", self._stage(level, in_channels))
        self.decoder0_g = _last(3)
        bridge = [ConvBNReLU(c, CONTEXT, 3, bias=True, padding=2, dilation=2) for c in (coarsest, CONTEXT, CONTEXT)]
        self.bridge_block = nn.Sequential(*bridge)
        for level in LEVELS:
            in_channels = CONTEXT if level == 5 else GLANCE[level + 1][1]
            setattr(self, f"decoder{level}_f", self._stage(level, in_channels + channels[level - 1]))
        self.decoder0_f = _last(1 + 1 + HIDDEN)

    def forward(self, image: Tensor, trimap: Tensor | None = None) -> Tensor | dict[str, Tensor]:
        """As :func:`streammatte.networks.create` describes it.

        In training mode also, at H/4 and W/4: ``glance`` (N, 3), the probabilities of foreground, transition and
        background, ``focus`` (N, 1), alpha in the transition, ``fusion`` (N, 1) of the two and ``error`` (N, 1), the
        expected error of that.
        """
        maps = self.backbone(shrink(image, 4))
        glance = F.softmax(self._glance(maps[-1]), axis=1)
        details = self._focus(maps)
        focus = F.sigmoid(details[:, :1])
        fusion = fuse_by_class(glance, focus)
        hidden = F.relu(details[:, 2:])
        alpha = paddle.clip(self.refiner(image, paddle.concat([hidden, fusion, glance], axis=1)), 0.0, 1.0)
        if self.training:
            error = paddle.clip(details[:, 1:2], 0.0, 1.0)
            return {"alpha": alpha, "glance": glance, "focus": focus, "fusion": fusion, "error": error}
        return alpha

    def _glance(self, x: Tensor) -> Tensor:
        """Which class each pixel is of."""
        context = self.psp_module(x)
        for level in LEVELS:
            guide = context if level == 5 else getattr(self, f"psp{level}")(context)
            x = getattr(self, f"decoder{level}_g")(paddle.concat([guide, x], axis=1))
        return self.decoder0_g(x)

    def _focus(self, maps: Sequence[Tensor]) -> Tensor:
        """Alpha in the transition, its error and the hidden channels, one after the other."""
        x = self.bridge_block(maps[-1])
        for level in LEVELS:
            x = getattr(self, f"decoder{level}_f")(paddle.concat([x, maps[level - 1]], axis=1))
        return self.decoder0_f(x)

    @staticmethod
    def _stage(level: int, in_channels: int) -> nn.Layer:
        mid_channels, out_channels = GLANCE[level]
        return decoder_stage((in_channels, mid_channels, mid_channels, out_channels), dilation=2 if level == 5 else 1)
