"""Layers that several networks share. Sub-layer names are those of PaddleSeg, so that its checkpoints load by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

__all__ = ["MLFF", "AdaptiveAvgPool2D", "ConvBN", "ConvBNReLU", "MattingHead", "resize", "spatial_shape"]


def spatial_shape(x: Tensor) -> list[int] | Tensor:
    """(H, W) of a feature map; a tensor while a graph is traced, so that it follows its input's size."""
    return list(x.shape[2:]) if paddle.in_dynamic_mode() else paddle.shape(x)[2:]


def resize(x: Tensor, like: Tensor) -> Tensor:
    """``x`` (N, C, h, w) bilinear (``align_corners=False``) to the height and width of ``like``."""
    return F.interpolate(x, size=spatial_shape(like), mode="bilinear", align_corners=False)


class ConvBN(nn.Layer):
    """Convolution and batch norm, with the sub-layers ``_conv`` and ``_batch_norm``.

    Parameters
    ----------
    in_channels, out_channels, kernel_size : int
        Of the convolution.
    bias : bool
        Give it one.
    **conv
        Its other arguments.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, bias: bool = False, **conv: int | str
    ) -> None:
        super().__init__()
        conv.setdefault("padding", kernel_size // 2)
        self._conv = nn.Conv2D(in_channels, out_channels, kernel_size, bias_attr=None if bias else False, **conv)
        self._batch_norm = nn.BatchNorm2D(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, H', W')."""
        return self._batch_norm(self._conv(x))


class ConvBNReLU(ConvBN):
    """:class:`ConvBN` and a ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, H', W')."""
        return F.relu(super().forward(x))


class AdaptiveAvgPool2D(nn.Layer):
    """Average pooling to ``size`` x ``size`` cells, as a product with two matrices that are made from the input's size.

    Cell i covers rows floor(i n / size) to ceil((i + 1) n / size), so cells overlap where ``size`` does not divide n.
    Converters turn Paddle's own operator into a plain pooling there, or refuse it where the size is not known; a
    product is the same function everywhere and folds to two constants once the size is.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, size, size)."""
        height, width = (x.shape[2], x.shape[3]) if paddle.in_dynamic_mode() else paddle.shape(x)[2:].unbind()
        rows, columns = self._weights(height), self._weights(width)
        return paddle.matmul(paddle.matmul(rows, x), columns, transpose_y=True)

    def _weights(self, n: int | Tensor) -> Tensor:
        """Matrix (size, n): row i holds 1 / length over its cell and 0 elsewhere."""
        cell = paddle.arange(self.size, dtype="int64").unsqueeze(1)
        start = cell * n // self.size
        stop = ((cell + 1) * n + self.size - 1) // self.size
        position = paddle.arange(0, n, dtype="int64").unsqueeze(0)
        inside = ((position >= start) & (position < stop)).astype("float32")
        return inside / (stop - start).astype("float32")


class _ChannelMax(paddle.autograd.PyLayer):
    """``max`` over channels. Paddle's own backward pass of it takes half of a training step on a CPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 1, H, W)."""
        highest = paddle.max(x, axis=1, keepdim=True)
        ctx.save_for_backward(x, highest)
        return highest

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Shared by the channels that are the highest, as Paddle's is."""
        x, highest = ctx.saved_tensor()
        chosen = (x == highest).astype(x.dtype)
        return chosen * (gradient / chosen.sum(axis=1, keepdim=True))


def _channel_max(x: Tensor) -> Tensor:
    if paddle.in_dynamic_mode() and not x.stop_gradient:
        return _ChannelMax.apply(x)
    return paddle.max(x, axis=1, keepdim=True)


class MLFF(nn.Layer):
    """Fuses feature maps of several levels at the size of the first: weighted per pixel and level, then merged.

    PP-MattingV2's multi-level feature fusion.

    Parameters
    ----------
    in_channels, mid_channels : sequence of int
        Channels of the inputs, and those that each is projected to.
    out_channels : int
    merge : {"concat", "add"}
        How the weighted maps come together; ``add`` needs equal ``mid_channels``.
    """

    def __init__(
        self, in_channels: Sequence[int], mid_channels: Sequence[int], out_channels: int, merge: str = "concat"
    ) -> None:
        super().__init__()
        self.merge = merge
        levels = len(in_channels)
        pairs = list(zip(in_channels, mid_channels, strict=True))
        self.pwconvs = nn.LayerList([ConvBN(channels, mid, 1) for channels, mid in pairs])
        self.dwconvs = nn.LayerList([ConvBNReLU(mid, mid, 3, groups=mid) for mid in mid_channels])
        self.conv_atten = nn.Sequential(ConvBNReLU(2 * levels, levels, 3), ConvBN(levels, levels, 3))
        self.conv_out = ConvBNReLU(mid_channels[0] if merge == "add" else sum(mid_channels), out_channels, 3)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Maps (N, in_i, h_i, w_i) -> (N, out, h_0, w_0)."""
        maps = [
            depthwise(resize(pointwise(x), inputs[0]))
            for pointwise, depthwise, x in zip(self.pwconvs, self.dwconvs, inputs, strict=True)
        ]
        summary = [part for x in maps for part in (paddle.mean(x, axis=1, keepdim=True), _channel_max(x))]
        weights = F.sigmoid(self.conv_atten(paddle.concat(summary, axis=1)))
        weighted = [x * weights[:, i : i + 1] for i, x in enumerate(maps)]
        return self.conv_out(sum(weighted[1:], weighted[0]) if self.merge == "add" else paddle.concat(weighted, axis=1))


class MattingHead(nn.Layer):
    """3x3 convolutions, one 1x1 without bias, sigmoid: PP-MattingV2's head.

    Parameters
    ----------
    in_channels, mid_channels : int
    mid_layers : int
        Convolutions before the last.
    """

    def __init__(self, in_channels: int, mid_channels: int, mid_layers: int = 1) -> None:
        super().__init__()
        self.conv = ConvBNReLU(in_channels, mid_channels, 3)
        if mid_layers > 1:
            self.mid_conv = nn.LayerList([ConvBNReLU(mid_channels, mid_channels, 3) for _ in range(mid_layers - 1)])
        self.conv_out = nn.Conv2D(mid_channels, 1, 1, bias_attr=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, 1, H, W) in [0, 1]."""
        x = self.conv(x)
        for layer in getattr(self, "mid_conv", ()):
            x = layer(x)
        return F.sigmoid(self.conv_out(x))
