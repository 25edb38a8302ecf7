"""MODNet (Ke et al., MODNet: Real-Time Trimap-Free Portrait Matting via Objective Decomposition, 2022)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from streammatte.networks.backbones.hrnet import HRNetW18
from streammatte.networks.backbones.mobilenet_v2 import MobileNetV2
from streammatte.networks.backbones.resnet_vd import resnet50_vd
from streammatte.networks.blocks import enlarge, shrink

__all__ = ["MODNet", "modnet_hrnet_w18", "modnet_mobilenetv2", "modnet_resnet50_vd"]

DETAIL = 32
"""Channels of the high-resolution branch."""


class _HalfInstanceNorm(nn.Layer):
    """Batch norm over the first half of the channels, instance norm over the second."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.split = channels // 2
        self.bnorm = nn.BatchNorm2D(self.split)
        self.inorm = nn.InstanceNorm2D(channels - self.split)

    def forward(self, x: Tensor) -> Tensor:
        return paddle.concat([self.bnorm(x[:, : self.split]), self.inorm(x[:, self.split :])], axis=1)


class _Conv(nn.Layer):
    """Convolution, and the norm of halves with ReLU unless ``plain``."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, plain: bool = False) -> None:
        super().__init__()
        conv = nn.Conv2D(in_channels, out_channels, kernel, stride, kernel // 2)
        self.layers = nn.Sequential(conv) if plain else nn.Sequential(conv, _HalfInstanceNorm(out_channels), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class _SqueezeExcite(nn.Layer):
    """Weighs channels by the mean of the whole map (Hu et al. 2018)."""

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        inner = channels // reduction
        squeeze, excite = (nn.Conv2D(a, b, 1, bias_attr=False) for a, b in ((channels, inner), (inner, channels)))
        self.conv = nn.Sequential(squeeze, nn.ReLU(), excite, nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.conv(paddle.mean(x, axis=[2, 3], keepdim=True))


class _LowResolution(nn.Layer):
    """Semantics: where the person is."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        _, _, c8, c16, c32 = channels
        self.se_block = _SqueezeExcite(c32)
        self.conv_lr16x = _Conv(c32, c16, 5)
        self.conv_lr8x = _Conv(c16, c8, 5)
        self.conv_lr = _Conv(c8, 1, 3, stride=2, plain=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map at 32x -> map at 8x."""
        x = self.conv_lr16x(enlarge(self.se_block(x), 2))
        return self.conv_lr8x(enlarge(x, 2))


class _HighResolution(nn.Layer):
    """Details: the person's boundary."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        c2, c4, c8 = channels[:3]
        self.tohr_enc2x = _Conv(c2, DETAIL, 1)
        self.conv_enc2x = _Conv(DETAIL + 3, DETAIL, 3, stride=2)
        self.tohr_enc4x = _Conv(c4, DETAIL, 1)
        self.conv_enc4x = _Conv(2 * DETAIL, 2 * DETAIL, 3)
        wide = 2 * DETAIL
        first = _Conv(wide + c8 + 3, wide, 3)
        self.conv_hr4x = nn.Sequential(first, _Conv(wide, wide, 3), _Conv(wide, DETAIL, 3))
        narrow = [_Conv(DETAIL, DETAIL, 3) for _ in range(2)]
        self.conv_hr2x = nn.Sequential(_Conv(wide, wide, 3), _Conv(wide, DETAIL, 3), *narrow)
        self.conv_hr = nn.Sequential(_Conv(DETAIL + 3, DETAIL, 3), _Conv(DETAIL, 1, 1, plain=True))

    def forward(self, image: Tensor, half: Tensor, quarter: Tensor, semantic: Tensor) -> Tensor:
        """The image, the backbone's maps at 2x and 4x and the semantic map at 8x -> map at 2x."""
        half = self.tohr_enc2x(half)
        x = self.conv_enc2x(paddle.concat([shrink(image, 2), half], axis=1))
        x = self.conv_enc4x(paddle.concat([x, self.tohr_enc4x(quarter)], axis=1))
        x = self.conv_hr4x(paddle.concat([x, enlarge(semantic, 2), shrink(image, 4)], axis=1))
        return self.conv_hr2x(paddle.concat([enlarge(x, 2), half], axis=1))


class _Fusion(nn.Layer):
    """Semantics and details together."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.conv_lr4x = _Conv(channels[2], DETAIL, 5)
        self.conv_f2x = _Conv(2 * DETAIL, DETAIL, 3)
        self.conv_f = nn.Sequential(_Conv(DETAIL + 3, DETAIL // 2, 3), _Conv(DETAIL // 2, 1, 1, plain=True))

    def forward(self, image: Tensor, semantic: Tensor, detail: Tensor) -> Tensor:
        x = enlarge(self.conv_lr4x(enlarge(semantic, 2)), 2)
        x = enlarge(self.conv_f2x(paddle.concat([x, detail], axis=1)), 2)
        return F.sigmoid(self.conv_f(paddle.concat([x, image], axis=1)))


class _Head(nn.Layer):
    """The three branches, under the names of the published weights."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.lr_branch = _LowResolution(channels)
        self.hr_branch = _HighResolution(channels)
        self.f_branch = _Fusion(channels)


class _Blur(nn.Layer):
    """3x3 Gaussian with reflected borders, fixed: what the losses of semantics smooth a matte with."""

    SIGMA = 0.3 * ((3 - 1) * 0.5 - 1) + 0.8
    """The usual sigma for a kernel of 3 (as OpenCV chooses it)."""

    def __init__(self) -> None:
        super().__init__()
        weights = np.exp(-0.5 * (np.arange(-1, 2) / self.SIGMA) ** 2)
        kernel = np.outer(weights, weights) / weights.sum() ** 2
        fixed = paddle.ParamAttr(
            initializer=nn.initializer.Assign(kernel[None, None].astype("float32")), trainable=False
        )
        self.op = nn.Sequential(nn.Pad2D(1, mode="reflect"), nn.Conv2D(1, 1, 3, weight_attr=fixed, bias_attr=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


class MODNet(nn.Layer):
    """Alpha of the people in an image; sides multiples of 32.

    Parameters
    ----------
    backbone : nn.Layer
        Gives maps at 2x, 4x, 8x, 16x and 32x; ``feat_channels`` are their numbers of channels.

    Attributes
    ----------
    blurer : nn.Layer
        The fixed smoothing that the semantic losses apply to a matte (N, 1, h, w) at 1/16.
    """

    def __init__(self, backbone: nn.Layer) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = _Head(backbone.feat_channels)
        self.blurer = _Blur()

    def forward(self, image: Tensor, trimap: Tensor | None = None) -> Tensor | dict[str, Tensor]:
        """As :func:`streammatte.networks.create` describes it.

        In training mode also ``semantic`` (N, 1, H/16, W/16), the blurred matte, and ``detail`` (N, 1, H, W), alpha
        along the boundary.
        """
        half, quarter, _, _, coarsest = self.backbone(image)
        low, high = self.head.lr_branch, self.head.hr_branch
        eighth = low(coarsest)
        details = high(image, half, quarter, eighth)
        alpha = self.head.f_branch(image, eighth, details)
        if self.training:
            detail = high.conv_hr(paddle.concat([enlarge(details, 2), image], axis=1))
            return {"alpha": alpha, "semantic": F.sigmoid(low.conv_lr(eighth)), "detail": F.sigmoid(detail)}
        return alpha


def modnet_mobilenetv2() -> MODNet:
    """MODNet on MobileNetV2."""
    return MODNet(MobileNetV2())


def modnet_resnet50_vd() -> MODNet:
    """MODNet on ResNet50-D."""
    return MODNet(resnet50_vd())


def modnet_hrnet_w18() -> MODNet:
    """MODNet on HRNet-W18."""
    return MODNet(HRNetW18())
