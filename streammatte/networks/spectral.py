"""Spectral normalisation (Miyato et al., Spectral Normalization for Generative Adversarial Networks, 2018)."""

from __future__ import annotations

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

__all__ = ["SpectralConv"]

MIN_NORM = 1e-12
"""Least norm that a vector is divided by."""


class SpectralConv(nn.Layer):
    """Convolution without bias whose weights are divided by the largest singular value of their matrix.

    That value is followed by one power iteration each time the layer runs in training mode; else it is what the two
    vectors ``weight_u`` and ``weight_v`` say. The names are those of Paddle's own ``spectral_norm``, which cannot be
    exported.

    Parameters
    ----------
    in_channels, out_channels, kernel, stride : int
        Channels in and out, side of the kernel, step.
    padding : int, optional
        Half the kernel by default.
    transposed : bool
        A transposed convolution: ``stride`` enlarges.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        padding: int | None = None,
        transposed: bool = False,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.padding = kernel // 2 if padding is None else padding
        self.transposed = transposed
        first = (in_channels, out_channels) if transposed else (out_channels, in_channels)
        initial = nn.initializer.XavierUniform()
        self.weight_orig = self.create_parameter([*first, kernel, kernel], default_initializer=initial)
        for name, length in (("weight_u", out_channels), ("weight_v", in_channels * kernel * kernel)):
            self.register_buffer(name, F.normalize(paddle.randn([length]), axis=0, epsilon=MIN_NORM))

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, H', W')."""
        matrix = self._matrix()
        if self.training:
            self._iterate(matrix.detach())
        largest = paddle.sum(
            self.weight_u.clone() * paddle.matmul(matrix, self.weight_v.clone().unsqueeze(1)).squeeze(1)
        )
        convolve = F.conv2d_transpose if self.transposed else F.conv2d
        return convolve(x, self.weight_orig / largest, stride=self.stride, padding=self.padding)

    def _matrix(self) -> Tensor:
        """The weights, one row for each channel out."""
        weight = self.weight_orig.transpose([1, 0, 2, 3]) if self.transposed else self.weight_orig
        return weight.reshape([weight.shape[0], -1])

    def _iterate(self, matrix: Tensor) -> None:
        with paddle.no_grad():
            v = F.normalize(paddle.matmul(matrix, self.weight_u, transpose_x=True), axis=0, epsilon=MIN_NORM)
            u = F.normalize(paddle.matmul(matrix, v), axis=0, epsilon=MIN_NORM)
            self.weight_v.set_value(v)
            self.weight_u.set_value(u)
