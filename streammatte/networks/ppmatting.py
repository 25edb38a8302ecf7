"""PP-Matting on HRNet-W18 (Chen et al., PP-Matting: High-Accuracy Natural Image Matting, 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from streammatte.networks.backbones.hrnet import HRNetW18
from streammatte.networks.backbones.resnet_vd import BasicBlock
from streammatte.networks.blocks import PyramidPool, conv_up, decoder_stage, fuse_by_class
from streammatte.networks.layers import ConvBNReLU, resize

__all__ = ["PPMatting"]

CONTEXT = 512
"""Channels of the pooled context."""
STAGES = ((CONTEXT, 512, 256), (512, 256, 128), (256, 128, 64), (128, 128, 64), (128, 64, 64))
"""(input, middle, output) channels of the semantic stages; the first is given the backbone's map besides."""
GUIDES = (0, 2, 4)
"""Semantic stages whose maps guide the detail branch."""
DETAIL = (64, 32, 16, 8)
"""Channels along the detail branch."""


class _SemanticContext(nn.Layer):
    """The branch that classifies foreground, transition and background."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.psp_module = PyramidPool(in_channels, CONTEXT)
        self.psps = nn.LayerList([conv_up(CONTEXT, STAGES[i][2], 2 ** (i + 1)) for i in range(len(STAGES) - 1)])
        stages = []
        for index, (in_width, middle, out_width) in enumerate(STAGES):
            first = index == 0
            channels = (in_width + in_channels if first else in_width, middle, middle, out_width)
            stages.append(decoder_stage(channels, dilation=2 if first else 1))
        last = STAGES[-1][2]
        to_classes = nn.Conv2D(last, 3, 3, padding=1)
        convs = [ConvBNReLU(last, last, 3, bias=True) for _ in range(2)]
        self.scb_stages = nn.LayerList([*stages, nn.Sequential(*convs, to_classes)])

    def forward(self, x: Tensor) -> list[Tensor]:
        """The map at 32x -> maps at 16x, 8x, 4x, 2x, 1x and the three classes at 1x."""
        context = self.psp_module(x)
        guides = [context, *(psp(context) for psp in self.psps)]
        maps = []
        for index, stage in enumerate(self.scb_stages):
            x = stage(paddle.concat([guides[index], x], axis=1) if index < len(guides) else x)
            maps.append(x)
        return maps


class _GatedConv(nn.Layer):
    """1x1 convolution whose input is raised by a one-channel guide (Takikawa et al., Gated-SCNN, 2019)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        both = channels + 1
        self._gate_conv = nn.Sequential(
            nn.BatchNorm2D(both),
            nn.Conv2D(both, both, 1),
            nn.ReLU(),
            nn.Conv2D(both, 1, 1),
            nn.BatchNorm2D(1),
            nn.Sigmoid(),
        )
        self.conv = nn.Conv2D(channels, channels, 1, bias_attr=False)

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        return self.conv(x * (self._gate_conv(paddle.concat([x, guide], axis=1)) + 1))


class _HighResolutionDetail(nn.Layer):
    """The branch at the image's full size, guided by the semantic one."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.gf_list = nn.LayerList([nn.Conv2D(STAGES[i][2], 1, 1) for i in GUIDES])
        first = BasicBlock(in_channels, DETAIL[0], project=True)
        self.res_list = nn.LayerList([first, *(BasicBlock(channels, channels) for channels in DETAIL[1:-1])])
        self.convs = nn.LayerList([nn.Conv2D(in_width, out_width, 1) for in_width, out_width in pairwise(DETAIL)])
        self.gates = nn.LayerList([_GatedConv(channels) for channels in DETAIL[1:]])
        self.detail_conv = nn.Conv2D(DETAIL[-1], 1, 1, bias_attr=False)

    def forward(self, x: Tensor, semantic: Sequence[Tensor]) -> Tensor:
        for step, index in enumerate(GUIDES):
            x = self.convs[step](self.res_list[step](x))
            guide = resize(self.gf_list[step](semantic[index]), x)
            x = self.gates[step](x, guide)
        return self.detail_conv(x)


class PPMatting(nn.Layer):
    """Alpha of the people in an image, from classes and details fused; sides multiples of 32."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = HRNetW18()
        channels = self.backbone.feat_channels
        self.scb = _SemanticContext(channels[-1])
        self.hrdb = _HighResolutionDetail(channels[0] + channels[1])

    def forward(self, image: Tensor, trimap: Tensor | None = None) -> Tensor | dict[str, Tensor]:
        """As :func:`streammatte.networks.create` describes it.

        In training mode also ``semantic`` (N, 3, H, W), the probabilities of foreground, transition and background, and
        ``detail`` (N, 1, H, W), alpha in the transition.
        """
        maps = self.backbone(image)
        levels = self.scb(maps[-1])
        semantic = F.softmax(levels[-1], axis=1)
        fine = paddle.concat([resize(maps[0], image), resize(maps[1], image)], axis=1)
        detail = F.sigmoid(self.hrdb(fine, levels))
        alpha = fuse_by_class(semantic, detail)
        if self.training:
            return {"alpha": alpha, "semantic": semantic, "detail": detail}
        return alpha
