"""Parts that several published networks share, beside those of :mod:`streammatte.networks.layers`."""

from __future__ import annotations

from collections.abc import Sequence

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from streammatte.errors import ModelError
from streammatte.networks.layers import AdaptiveAvgPool2D, ConvBNReLU, resize, spatial_shape

__all__ = [
    "Enlarge",
    "PyramidPool",
    "conv_up",
    "decoder_stage",
    "enlarge",
    "fuse_by_class",
    "require_trimap",
    "shrink",
    "with_trimap",
]

TRIMAP_MAX = 255.0
"""Foreground's value in a trimap; networks get the trimap divided by it."""


def enlarge(x: Tensor, factor: int, mode: str = "bilinear") -> Tensor:
    """``x`` (N, C, h, w) at ``factor`` times its height and width, bilinear or ``nearest``, corners not aligned.

    The size is handed over, not the factor: converters from Paddle cannot read a factor.

    Parameters
    ----------
    x : (N, C, h, w)
    factor : int
    mode : {"bilinear", "nearest"}
    """
    return F.interpolate(x, size=[side * factor for side in _sides(x)], mode=mode, align_corners=False)


def shrink(x: Tensor, divisor: int) -> Tensor:
    """``x`` (N, C, h, w) bilinear, corners not aligned, at a ``divisor``-th of its height and width."""
    return F.interpolate(x, size=[side // divisor for side in _sides(x)], mode="bilinear", align_corners=False)


def _sides(x: Tensor) -> list[int | Tensor]:
    """Height and width, one by one."""
    shape = spatial_shape(x)
    return [shape[0], shape[1]]


class Enlarge(nn.Layer):
    """:func:`enlarge` as a layer."""

    def __init__(self, factor: int = 2, mode: str = "bilinear") -> None:
        super().__init__()
        self.factor = factor
        self.mode = mode

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C, factor h, factor w)."""
        return enlarge(x, self.factor, self.mode)


def conv_up(in_channels: int, out_channels: int, factor: int) -> nn.Layer:
    """3x3 convolution with batch norm and ReLU, then bilinear enlargement.

    Parameters
    ----------
    in_channels, out_channels : int
    factor : int
        Of the enlargement.
    """
    return nn.Sequential(ConvBNReLU(in_channels, out_channels, 3, bias=True), Enlarge(factor))


def decoder_stage(channels: Sequence[int], dilation: int = 1) -> nn.Layer:
    """Three 3x3 convolutions, the second and third dilated, then twice the size.

    ``channels`` are the input's and those after each convolution.
    """
    first, *rest = [
        ConvBNReLU(in_channels, out_channels, 3, bias=True, padding=step, dilation=step)
        for in_channels, out_channels, step in zip(channels, channels[1:], (1, dilation, dilation), strict=False)
    ]
    return nn.Sequential(first, *rest, Enlarge())


def fuse_by_class(semantic: Tensor, detail: Tensor) -> Tensor:
    """One where foreground is the likeliest class, ``detail`` where the transition is, else zero.

    Collaborative matting (Li et al., Bridging Composite and Real, 2022). ``semantic`` (N, 3, H, W) holds foreground,
    transition and background; a tie goes to the first.
    """
    likeliest = paddle.argmax(semantic, axis=1, keepdim=True)
    transition = (likeliest == 1).astype("float32")
    return detail * transition + (likeliest == 0).astype("float32")


def require_trimap(trimap: Tensor | None, network: nn.Layer) -> Tensor:
    """The trimap, or ModelError where a network that cannot do without got none."""
    if trimap is None:
        raise ModelError(
            f"{type(network).__name__} needs a trimap beside the image and got none; "
            "give one (N, 1, H, W) with 0, 128 and 255, or take a network without"
        )
    return trimap


def with_trimap(image: Tensor, trimap: Tensor) -> Tensor:
    """Image and trimap, scaled to 0..1, as four channels."""
    return paddle.concat([image, trimap / TRIMAP_MAX], axis=1)


class PyramidPool(nn.Layer):
    """Pyramid pooling (Zhao et al. 2017): averages over a few grids of cells, laid back over the map and merged.

    Parameters
    ----------
    in_channels, out_channels : int
    bins : sequence of int
        Cells a side of each level.
    """

    def __init__(self, in_channels: int, out_channels: int, bins: Sequence[int] = (1, 3, 5)) -> None:
        super().__init__()
        self.stages = nn.LayerList(
            [
                nn.Sequential(AdaptiveAvgPool2D(size), ConvBNReLU(in_channels, in_channels, 1, bias=True))
                for size in bins
            ]
        )
        self.conv_bn_relu2 = ConvBNReLU(in_channels * (1 + len(bins)), out_channels, 3, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, H, W)."""
        levels = [resize(stage(x), x) for stage in self.stages]
        return self.conv_bn_relu2(paddle.concat([x, *levels[::-1]], axis=1))
