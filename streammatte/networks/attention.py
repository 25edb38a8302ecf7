"""Guided contextual attention (Li and Lu, Natural Image Matting via Guided Contextual Attention, 2020)."""

from __future__ import annotations

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from streammatte.networks.layers import spatial_shape

__all__ = ["GuidedContextualAttention"]

GUIDE_KERNEL = 3
"""Side of the patches of the image that are compared."""
ALPHA_KERNEL = 4
"""Side of the patches of alpha features that are propagated: they overlap by half, hence the division below."""
OVERLAP = 4.0
"""Patches that cover one pixel."""
SELF_PENALTY = -1e4
"""Added to the score of an unknown patch with itself, so that it attends to other patches."""
MIN_NORM = 1e-4
"""Least norm of a patch, against a division by zero."""
SCALE_RANGE = (0.1, 10.0)
"""Bounds of the weights of known and unknown patches."""


def _one_hot(channels: int, kernel: int) -> Tensor:
    """Weights of a grouped convolution that lays each patch's pixels into channels: (channels k k, 1, k, k)."""
    eye = paddle.eye(kernel * kernel).reshape([kernel * kernel, 1, kernel, kernel])
    return eye.tile([channels, 1, 1, 1])


def _patches(x: Tensor, kernel: int, stride: int) -> Tensor:
    """Patches around every ``stride``-th pixel, reflected at the border: (N, C, H, W) -> (N, C k k, H / s, W / s)."""
    before, after = (kernel - stride + 1) // 2, (kernel - stride) // 2
    x = F.pad(x, [before, after, before, after], mode="reflect")
    return F.conv2d(x, _one_hot(x.shape[1], kernel), stride=stride, groups=x.shape[1])


class GuidedContextualAttention(nn.Layer):
    """Propagates alpha features between patches whose images look alike.

    Parameters
    ----------
    channels : int
        Of the alpha features and of the guide.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.guidance_conv = nn.Conv2D(channels, channels // 2, 1)
        norm = nn.BatchNorm(channels, param_attr=paddle.ParamAttr(initializer=nn.initializer.Constant(1e-3)))
        self.out_conv = nn.Sequential(nn.Conv2D(channels, channels, 1, bias_attr=False), norm)

    def forward(self, guide: Tensor, alpha: Tensor, unknown: Tensor) -> Tensor:
        """Attend.

        Parameters
        ----------
        guide, alpha : Tensor (N, C, h, w)
            Features of the image and of alpha; h and w even.
        unknown : Tensor (N, 1, h, w)
            One where alpha is to be found, else zero.

        Returns
        -------
        Tensor (N, C, h, w)
        """
        guide = self.guidance_conv(guide)[:, :, ::2, ::2]
        return self.out_conv(self.attend(guide, alpha, unknown[:, :, ::2, ::2])) + alpha

    def attend(self, guide: Tensor, alpha: Tensor, unknown: Tensor) -> Tensor:
        """The attention itself, with ``guide`` (N, C', h / 2, w / 2) and ``unknown`` (N, 1, h / 2, w / 2).

        With p_i the image's patch at i, the score of i for x is ``w(i) <p_x, p_i / |p_i|>``, minus a penalty where
        i is x and unknown; alpha's patches are averaged with the softmax of the scores over i (equations 1 to 4).

        Parameters
        ----------
        guide : (N, C', h / 2, w / 2)
            Features of the image.
        alpha : (N, C, h, w)
            Features of alpha, which are averaged.
        unknown : (N, 1, h / 2, w / 2)
            One where alpha is to be found, else zero.
        """
        share = _patches(unknown, GUIDE_KERNEL, 1).mean(axis=1, keepdim=True).flatten(2)
        share = share.transpose([0, 2, 1])
        patches = _patches(guide, GUIDE_KERNEL, 1)
        height, width = (spatial_shape(patches)[axis] for axis in (0, 1))
        patches = patches.flatten(2)
        norm = paddle.sqrt(paddle.sum(patches * patches, axis=1, keepdim=True))
        score = paddle.matmul(patches / paddle.clip(norm, min=MIN_NORM), patches, transpose_x=True)
        index = paddle.arange(0, height * width, dtype="int64")
        itself = (index.unsqueeze(0) == index.unsqueeze(1)).astype("float32").unsqueeze(0)
        score = score * self._weights(unknown, share) + SELF_PENALTY * itself * share
        values = _patches(alpha, ALPHA_KERNEL, 2).flatten(2)
        mixed = paddle.matmul(values, F.softmax(score, axis=1))
        mixed = mixed.reshape([0, self.channels * ALPHA_KERNEL * ALPHA_KERNEL, height, width])
        weights = _one_hot(self.channels, ALPHA_KERNEL)
        return F.conv2d_transpose(mixed, weights, stride=2, padding=1, groups=self.channels) / OVERLAP

    @staticmethod
    def _weights(unknown: Tensor, share: Tensor) -> Tensor:
        """Weight of each patch (N, h w, 1) by how much of the image is of its kind; ``share`` is its unknown part."""
        part = unknown.mean(axis=[2, 3]).unsqueeze(2)
        low, high = SCALE_RANGE
        of_unknown = paddle.clip(paddle.sqrt(part / (1 - part)), low, high)
        of_known = paddle.clip(paddle.sqrt((1 - part) / part), low, high)
        is_unknown = (share > 0).astype("float32")
        return of_unknown * is_unknown + of_known * (1 - is_unknown)
