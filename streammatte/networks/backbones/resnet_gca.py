"""GCA's encoder: a ResNet of basic blocks with spectral norm, shortcuts to the decoder and a guide (Li and Lu 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import paddle.nn.functional as F
from paddle import Tensor, nn

from streammatte.networks.attention import GuidedContextualAttention
from streammatte.networks.spectral import SpectralConv

__all__ = ["ResNetGCA"]

STAGES = {"layer1": (3, 64), "layer2": (4, 128), "layer3": (4, 256), "layer_bottleneck": (2, 512)}
"""Blocks and channels of each stage."""
GUIDE = (16, 32, 128)
"""Channels of the guide's convolutions, each at half the size of the one before."""


class _Block(nn.Layer):
    """Two 3x3 convolutions added to their input, which is averaged down where it must change."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = SpectralConv(in_channels, out_channels, 3, stride)
        self.bn1 = nn.BatchNorm(out_channels)
        self.conv2 = SpectralConv(out_channels, out_channels, 3)
        self.bn2 = nn.BatchNorm(out_channels)
        self.changes = stride > 1
        if self.changes:
            project = SpectralConv(in_channels, out_channels, 1)
            self.downsample = nn.Sequential(nn.AvgPool2D(2, stride), project, nn.BatchNorm(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (self.downsample(x) if self.changes else x))


def _stage(in_channels: int, out_channels: int, count: int, stride: int) -> nn.Layer:
    """Blocks in a row, the first with the stride."""
    rest = [_Block(out_channels, out_channels, 1) for _ in range(count - 1)]
    return nn.Sequential(_Block(in_channels, out_channels, stride), *rest)


def _shortcut(in_channels: int, out_channels: int) -> nn.Layer:
    """What the decoder is handed of a map."""
    first, second = SpectralConv(in_channels, out_channels, 3), SpectralConv(out_channels, out_channels, 3)
    return nn.Sequential(first, nn.ReLU(), nn.BatchNorm(out_channels), second, nn.ReLU(), nn.BatchNorm(out_channels))


def _guide() -> nn.Layer:
    """Features of the image alone, at 8x."""
    layers: list[nn.Layer] = []
    for in_channels, out_channels in zip((3, *GUIDE), GUIDE, strict=False):
        conv = SpectralConv(in_channels, out_channels, 3, stride=2, padding=0)
        layers += [nn.Pad2D(1, mode="reflect"), conv, nn.ReLU(), nn.BatchNorm(out_channels)]
    return nn.Sequential(*layers)


class ResNetGCA(nn.Layer):
    """Encoder of image and trimap."""

    def __init__(self, in_channels: int = 4) -> None:
        super().__init__()
        self.conv1 = SpectralConv(in_channels, 32, 3, stride=2)
        self.conv2 = SpectralConv(32, 32, 3)
        self.conv3 = SpectralConv(32, 64, 3, stride=2)
        self.bn1, self.bn2, self.bn3 = nn.BatchNorm(32), nn.BatchNorm(32), nn.BatchNorm(64)
        width = 64
        for name, (count, channels) in STAGES.items():
            setattr(self, name, _stage(width, channels, count, 1 if name == "layer1" else 2))
            width = channels
        pairs: Sequence[tuple[int, int]] = ((in_channels, 32), (32, 32), (64, 64), (128, 128), (256, 256))
        self.shortcut = nn.LayerList([_shortcut(*pair) for pair in pairs])
        self.guidance_head = _guide()
        self.gca = GuidedContextualAttention(GUIDE[-1])

    def forward(self, x: Tensor, unknown: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        """Encode.

        Parameters
        ----------
        x : Tensor (N, in, H, W)
            Image and trimap.
        unknown : Tensor (N, 1, H / 8, W / 8)
            As :class:`GuidedContextualAttention` takes it.

        Returns
        -------
        The map at 32x, the shortcuts at 1x, 2x, 4x, 8x and 16x, the guide (N, 128, H / 8, W / 8)
        """
        guide = self.guidance_head(x[:, :3])
        half = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        quarter = self.layer1(F.relu(self.bn3(self.conv3(half))))
        eighth = self.gca(guide, self.layer2(quarter), unknown)
        sixteenth = self.layer3(eighth)
        maps = (x, half, quarter, eighth, sixteenth)
        shortcuts = [layer(x) for layer, x in zip(self.shortcut, maps, strict=True)]
        return self.layer_bottleneck(sixteenth), shortcuts, guide
