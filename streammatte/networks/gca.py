"""GCA (Li and Lu, Natural Image Matting via Guided Contextual Attention, 2020); needs a trimap."""

from __future__ import annotations

import paddle
from paddle import Tensor, nn

from streammatte.networks.attention import GuidedContextualAttention
from streammatte.networks.backbones.resnet_gca import ResNetGCA
from streammatte.networks.blocks import TRIMAP_MAX, Enlarge, require_trimap, with_trimap
from streammatte.networks.spectral import SpectralConv

__all__ = ["GCA"]

SLOPE = 0.2
"""Of the leaky ReLUs in the decoder."""
ATTENDED = TRIMAP_MAX
"""The trimap's value whose pixels the attention treats as unknown.

PaddleSeg compares its trimap, already divided by 255, with one; its weights were trained so, though the paper means the
unknown pixels (128 here).
"""
STAGES = {"layer1": (512, 256, 2), "layer2": (256, 128, 3), "layer3": (128, 64, 3), "layer4": (64, 32, 2)}
"""Channels in and out and blocks of each stage of the decoder."""


def _double(in_channels: int, out_channels: int) -> nn.Layer:
    """Transposed convolution to twice the size."""
    return SpectralConv(in_channels, out_channels, 4, 2, 1, transposed=True)


def _leaky(x: Tensor) -> Tensor:
    """Leaky ReLU; the converter to ONNX loses the slope of Paddle's own."""
    return paddle.maximum(x, SLOPE * x)


class _Block(nn.Layer):
    """Two convolutions added to their input; the first doubles the size where ``up``."""

    def __init__(self, in_channels: int, out_channels: int, up: bool) -> None:
        super().__init__()
        self.conv1 = _double(in_channels, in_channels) if up else SpectralConv(in_channels, in_channels, 3)
        self.bn1 = nn.BatchNorm(in_channels)
        self.conv2 = SpectralConv(in_channels, out_channels, 3)
        self.bn2 = nn.BatchNorm(out_channels)
        self.up = up
        if up:
            self.upsample = nn.Sequential(
                Enlarge(2, "nearest"), SpectralConv(in_channels, out_channels, 1), nn.BatchNorm(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(_leaky(self.bn1(self.conv1(x)))))
        return _leaky(y + (self.upsample(x) if self.up else x))


class _Decoder(nn.Layer):
    """From 32x back to full size, with attention at 8x."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = _double(32, 32)
        self.bn1 = nn.BatchNorm(32)
        self.conv2 = nn.Conv2D(32, 1, 3, padding=1)
        for name, (in_channels, out_channels, count) in STAGES.items():
            rest = [_Block(out_channels, out_channels, up=False) for _ in range(count - 1)]
            setattr(self, name, nn.Sequential(_Block(in_channels, out_channels, up=True), *rest))
        self.gca = GuidedContextualAttention(STAGES["layer2"][1])

    def forward(self, x: Tensor, shortcuts: list[Tensor], guide: Tensor, unknown: Tensor) -> Tensor:
        full, half, quarter, eighth, sixteenth = shortcuts
        x = self.layer2(self.layer1(x) + sixteenth) + eighth
        x = self.gca(guide, x, unknown)
        x = self.layer4(self.layer3(x) + quarter) + half
        x = _leaky(self.bn1(self.conv1(x))) + full
        return (paddle.tanh(self.conv2(x)) + 1) / 2


class GCA(nn.Layer):
    """Alpha of what a trimap marks; sides multiples of 32, at least 64."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = ResNetGCA(4)
        self.decoder = _Decoder()

    def forward(self, image: Tensor, trimap: Tensor | None = None) -> Tensor | dict[str, Tensor]:
        """As :func:`streammatte.networks.create` describes it. Raises ModelError without a trimap."""
        trimap = require_trimap(trimap, self)
        unknown = (trimap == ATTENDED).astype("float32")[:, :, ::8, ::8]
        deepest, shortcuts, guide = self.encoder(with_trimap(image, trimap), unknown)
        alpha = self.decoder(deepest, shortcuts, guide, unknown)
        return {"alpha": alpha} if self.training else alpha
