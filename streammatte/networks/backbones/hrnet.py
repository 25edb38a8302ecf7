"""HRNet-W18 (Wang et al., Deep High-Resolution Representation Learning, 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import paddle.nn.functional as F
from paddle import Tensor, nn

from streammatte.networks.layers import ConvBN, ConvBNReLU, resize

__all__ = ["HRNetW18"]

WIDTHS = (18, 36, 72, 144)
"""Channels of the branches, finest first: the W18."""
MODULES = {"st2": 1, "st3": 4, "st4": 3}
"""Exchange modules in each stage."""
DEPTH = 4
"""Blocks in a row in each branch, and in the first stage."""


def _halve(kind: type[ConvBN], in_channels: int, out_channels: int) -> ConvBN:
    """3x3 down by two, with the odd pixel of padding right and below, as the published weights expect."""
    return kind(in_channels, out_channels, 3, stride=2, padding="SAME")


class _Basic(nn.Layer):
    """Two 3x3 convolutions added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = ConvBNReLU(channels, channels, 3)
        self.conv2 = ConvBN(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv2(self.conv1(x)) + x)


class _Bottleneck(nn.Layer):
    """1x1, 3x3, 1x1 convolutions added to their input."""

    expansion = 4

    def __init__(self, in_channels: int, filters: int) -> None:
        super().__init__()
        out_channels = filters * self.expansion
        self.conv1 = ConvBNReLU(in_channels, filters, 1)
        self.conv2 = ConvBNReLU(filters, filters, 3)
        self.conv3 = ConvBN(filters, out_channels, 1)
        self.project = in_channels != out_channels
        if self.project:
            self.conv_down = ConvBN(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv3(self.conv2(self.conv1(x)))
        return F.relu(y + (self.conv_down(x) if self.project else x))


class _First(nn.Layer):
    """The first stage: bottlenecks at 4x."""

    def __init__(self) -> None:
        super().__init__()
        for index in range(DEPTH):
            in_channels = 64 if index == 0 else 64 * _Bottleneck.expansion
            self.add_sublayer(f"bb_layer2_{index + 1}", _Bottleneck(in_channels, 64))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.children():
            x = block(x)
        return x


class _Transition(nn.Layer):
    """Brings branches to a stage's widths and starts its coarsest branch."""

    def __init__(self, name: str, before: Sequence[int], after: Sequence[int]) -> None:
        super().__init__()
        self.layers: list[nn.Layer | None] = []
        for index, channels in enumerate(after):
            if index < len(before) and before[index] == channels:
                self.layers.append(None)
                continue
            new = index >= len(before)
            layer = _halve(ConvBNReLU, before[-1], channels) if new else ConvBNReLU(before[index], channels, 3)
            self.layers.append(self.add_sublayer(f"transition_{name}_layer_{index + 1}", layer))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        sources = [maps[min(index, len(maps) - 1)] for index in range(len(self.layers))]
        return [x if layer is None else layer(x) for layer, x in zip(self.layers, sources, strict=True)]


class _Branches(nn.Layer):
    """Blocks in a row in each branch."""

    def __init__(self, name: str, widths: Sequence[int]) -> None:
        super().__init__()
        self.rows = [
            [self.add_sublayer(f"bb_{name}_branch_layer_{i + 1}_{j + 1}", _Basic(width)) for j in range(DEPTH)]
            for i, width in enumerate(widths)
        ]

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        out = []
        for row, branch in zip(self.rows, maps, strict=True):
            x = branch
            for block in row:
                x = block(x)
            out.append(x)
        return out


class _Fuse(nn.Layer):
    """Adds every branch to every other, at the other's size."""

    def __init__(self, name: str, widths: Sequence[int]) -> None:
        super().__init__()
        self.paths: list[list[list[nn.Layer]]] = []
        for i in range(len(widths)):
            self.paths.append(
                [self._path(f"residual_{name}_layer_{i + 1}_{j + 1}", widths, i, j) for j in range(len(widths))]
            )

    def _path(self, name: str, widths: Sequence[int], to: int, start: int) -> list[nn.Layer]:
        """Layers from branch ``start`` to branch ``to``: one 1x1 up, one stride for each level down, none to itself."""
        if start > to:
            return [self.add_sublayer(name, ConvBN(widths[start], widths[to], 1))]
        steps: list[nn.Layer] = []
        for k in range(to - start):
            last = k == to - start - 1
            kind, channels = (ConvBN, widths[to]) if last else (ConvBNReLU, widths[start])
            steps.append(self.add_sublayer(f"{name}_{k + 1}", _halve(kind, widths[start], channels)))
        return steps

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        out = []
        for i, row in enumerate(self.paths):
            total = maps[i]
            for j, steps in enumerate(row):
                x = maps[j]
                for layer in steps:
                    x = layer(x)
                if j != i:
                    total = total + (resize(x, maps[i]) if j > i else x)
            out.append(F.relu(total))
        return out


class _Module(nn.Layer):
    """Branches, then their exchange."""

    def __init__(self, name: str, widths: Sequence[int]) -> None:
        super().__init__()
        self.branches_func = _Branches(name, widths)
        self.fuse_func = _Fuse(name, widths)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        fused: list[Tensor] = self.fuse_func(self.branches_func(maps))
        return fused


class _Stage(nn.Layer):
    """Modules in a row."""

    def __init__(self, name: str, widths: Sequence[int]) -> None:
        super().__init__()
        for index in range(MODULES[name]):
            self.add_sublayer(f"stage_{name}_{index + 1}", _Module(f"{name}_{index + 1}", widths))

    def forward(self, maps: Sequence[Tensor]) -> Sequence[Tensor]:
        for module in self.children():
            maps = module(maps)
        return maps


class HRNetW18(nn.Layer):
    """Maps at 2x, 4x, 8x, 16x and 32x."""

    feat_channels = (64, *WIDTHS)

    def __init__(self) -> None:
        super().__init__()
        self.conv_layer1_1 = _halve(ConvBNReLU, 3, 64)
        self.conv_layer1_2 = _halve(ConvBNReLU, 64, 64)
        self.la1 = _First()
        self.tr1 = _Transition("tr1", [64 * _Bottleneck.expansion], WIDTHS[:2])
        self.st2 = _Stage("st2", WIDTHS[:2])
        self.tr2 = _Transition("tr2", WIDTHS[:2], WIDTHS[:3])
        self.st3 = _Stage("st3", WIDTHS[:3])
        self.tr3 = _Transition("tr3", WIDTHS[:3], WIDTHS)
        self.st4 = _Stage("st4", WIDTHS)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, 3, H, W) -> five maps, finest first."""
        half = self.conv_layer1_1(x)
        maps = self.st2(self.tr1([self.la1(self.conv_layer1_2(half))]))
        return [half, *self.st4(self.tr3(self.st3(self.tr2(maps))))]
