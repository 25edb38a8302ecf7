"""Losses, and their published combination for each network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor

__all__ = ["consistency", "gradient_loss", "laplacian_loss", "mrsd", "network_losses"]

Labels = Mapping[str, Tensor]
"""``image``, ``foreground``, ``background`` (N, 3, H, W) in [-1, 1]; ``alpha`` (N, 1, H, W) in [0, 1]; ``trimap``
(N, 1, H, W) in {0, 128, 255}; all float32."""

EPSILON = 1e-6
UNKNOWN = 128
LEVELS = 5
"""Of the Laplacian pyramid."""


def mrsd(pred: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean of ``sqrt((pred - target)^2 + 1e-6)``, over ``mask`` (N, 1, H, W) where there is one.

    Parameters
    ----------
    pred, target : (N, C, H, W)
    mask : (N, 1, H, W), optional
        The pixels that count, 0 or 1.
    """
    error = paddle.sqrt(paddle.square(pred - target) + EPSILON)
    if mask is None:
        return error.mean()
    return (error * mask).sum() / (mask.sum() + EPSILON)


def gradient_loss(pred: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean difference of the magnitudes of Sobel gradients (kernels of absolute sum 1, edges replicated).

    Parameters
    ----------
    pred, target : (N, 1, H, W)
        Alpha in [0, 1].
    mask : (N, 1, H, W), optional
        The pixels that count, 0 or 1.
    """
    if mask is not None:
        pred, target = pred * mask, target * mask
    error = (_sobel(pred) - _sobel(target)).abs()
    return error.mean() if mask is None else error.sum() / (mask.sum() + EPSILON)


def _sobel(x: Tensor) -> Tensor:
    kernel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float32) / 8
    kernels = paddle.to_tensor(np.stack([kernel, kernel.T])[:, None])
    both = F.conv2d(F.pad(x, [1, 1, 1, 1], mode="replicate"), kernels)
    return paddle.sqrt(paddle.square(both).sum(axis=1, keepdim=True) + EPSILON)


def laplacian_loss(pred: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Sum over the levels of a Laplacian pyramid of the mean absolute difference.

    Parameters
    ----------
    pred, target : (N, 1, H, W)
        Alpha in [0, 1].
    mask : (N, 1, H, W), optional
        The pixels that count, 0 or 1.
    """
    if mask is not None:
        pred, target = pred * mask, target * mask
    pairs = zip(_pyramid(pred), _pyramid(target), strict=True)
    return paddle.add_n([F.l1_loss(one, other) for one, other in pairs])


def _pyramid(x: Tensor) -> list[Tensor]:
    line = np.exp(-(np.arange(-2, 3, dtype=np.float32) ** 2))
    kernel = np.add.outer(line, line)  # the published kernel adds its rows and columns
    weights = paddle.to_tensor((kernel / kernel.sum())[None, None])
    levels = []
    for _ in range(LEVELS):
        if min(x.shape[2:]) < 2:
            break
        soft = F.conv2d(F.pad(x, [2, 2, 2, 2], mode="replicate"), weights)
        levels.append(x - soft)
        x = F.avg_pool2d(soft, 2)
    return [*levels, x]


def consistency(pred: Tensor, target: Tensor) -> Tensor:
    """Difference of alpha's change from the true one, over pairs of frames (0 and 1, 2 and 3, ...)."""
    change = (pred[1::2] - pred[0::2]) - (target[1::2] - target[0::2])
    return paddle.sqrt(paddle.square(change) + EPSILON).mean()


def network_losses(network: str) -> Callable[[Mapping[str, Tensor], Labels, Any], dict[str, Tensor]]:
    """The losses of a network: a function of its training outputs, the labels and the network itself.

    The sum of the returned parts is the published loss; a recipe's ``losses`` are further factors.
    """
    family = next(name for name in _FAMILIES if network.startswith(name))
    return _FAMILIES[family]


def _unknown(labels: Labels) -> Tensor:
    return (labels["trimap"] == UNKNOWN).astype("float32")


def _area(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[2:], mode="area")


def _over(alpha: Tensor, labels: Labels) -> Tensor:
    return alpha * labels["foreground"] + (1 - alpha) * labels["background"]


def _classes(trimap: Tensor) -> Tensor:
    """0 foreground, 1 transition, 2 background; (N, H, W) int64."""
    return ((trimap == UNKNOWN).astype("int64") + 2 * (trimap == 0).astype("int64")).squeeze(1)


def _class_loss(probabilities: Tensor, trimap: Tensor) -> Tensor:
    return F.nll_loss(paddle.log(probabilities + EPSILON), _classes(trimap))


def _ppmattingv2(given: Mapping[str, Tensor], labels: Labels, _: Any) -> dict[str, Tensor]:
    alpha, mask, small = labels["alpha"], _unknown(labels), _area(labels["alpha"], given["alpha_8x"])
    return {
        "alpha_mrsd": mrsd(given["alpha"], alpha) + 2 * mrsd(given["alpha"], alpha, mask),
        "alpha_gradient": gradient_loss(given["alpha"], alpha) + 2 * gradient_loss(given["alpha"], alpha, mask),
        "alpha_8x_mrsd": mrsd(given["alpha_8x"], small),
        "alpha_8x_gradient": gradient_loss(given["alpha_8x"], small),
    }


def _lite(given: Mapping[str, Tensor], labels: Labels, _: Any) -> dict[str, Tensor]:
    """As the embedded network was trained: Charbonnier with weight 3 in the transition, Laplacian pyramid, 8x."""
    alpha, mask = labels["alpha"], _unknown(labels)
    error = paddle.sqrt(paddle.square(given["alpha"] - alpha) + EPSILON)
    return {
        "alpha_mrsd": (error * (1 + 2 * mask)).mean(),
        "alpha_laplacian": laplacian_loss(given["alpha"], alpha),
        "alpha_8x_mrsd": 0.5 * mrsd(given["alpha_8x"], _area(alpha, given["alpha_8x"])),
    }


def _ppmatting(given: Mapping[str, Tensor], labels: Labels, _: Any) -> dict[str, Tensor]:
    alpha, mask = labels["alpha"], _unknown(labels)
    composites = mrsd(_over(given["alpha"], labels), _over(alpha, labels))
    detail = mrsd(given["detail"], alpha, mask) + gradient_loss(given["detail"], alpha, mask)
    return {
        "semantic": 0.25 * _class_loss(given["semantic"], labels["trimap"]),
        "detail": 0.25 * detail,
        "fusion": 0.25 * (mrsd(given["alpha"], alpha) + composites + gradient_loss(given["alpha"], alpha)),
    }


def _modnet(given: Mapping[str, Tensor], labels: Labels, network: Any) -> dict[str, Tensor]:
    alpha, mask, image, found = labels["alpha"], _unknown(labels), labels["image"], given["alpha"]
    semantic = given["semantic"]

    def small(x: Tensor, mode: str) -> Tensor:
        align = {} if mode == "nearest" else {"align_corners": False}
        return F.interpolate(x, size=semantic.shape[2:], mode=mode, **align)

    boundary = paddle.where(mask > 0, found, alpha)
    coarse = network.blurer(small(found, "bilinear"))
    agreed = paddle.where(small(mask, "nearest") > 0, semantic.detach(), coarse)
    detail = F.l1_loss(given["detail"] * mask, alpha * mask) / (mask.mean() + EPSILON)
    return {
        "semantic": F.mse_loss(semantic, network.blurer(small(alpha, "bilinear"))),
        "detail": 10 * detail,
        "fusion_l1": F.l1_loss(found, alpha) + 4 * F.l1_loss(boundary, alpha),
        "fusion_composite": F.l1_loss(found * image, alpha * image) + 4 * F.l1_loss(boundary * image, alpha * image),
        "fusion_semantic": F.mse_loss(agreed, semantic),
    }


def _human(given: Mapping[str, Tensor], labels: Labels, _: Any) -> dict[str, Tensor]:
    size, alpha = given["glance"].shape[2:], labels["alpha"]
    trimap = F.interpolate(labels["trimap"], size=size, mode="nearest")
    small = F.interpolate(alpha, size=size, mode="bilinear", align_corners=False)

    def large(x: Tensor) -> Tensor:
        return F.interpolate(x, size=alpha.shape[2:], mode="bilinear", align_corners=False)

    return {
        "glance": 0.25 * _class_loss(given["glance"], trimap),
        "focus": 0.25 * mrsd(given["focus"], small, (trimap == UNKNOWN).astype("float32")),
        "fusion": 0.25 * mrsd(given["fusion"], small),
        "error": F.mse_loss(large(given["error"]), (large(given["fusion"]) - alpha).abs()),
        "refine": F.l1_loss(given["alpha"], alpha),
    }


def _dim(given: Mapping[str, Tensor], labels: Labels, _: Any) -> dict[str, Tensor]:
    alpha, mask = labels["alpha"], _unknown(labels)
    return {
        "raw": 0.5 * mrsd(given["alpha_raw"], alpha, mask),
        "composite": 0.5 * mrsd(_over(given["alpha_raw"], labels), labels["image"], mask),
        "alpha": mrsd(given["alpha"], alpha, mask),
    }


def _gca(given: Mapping[str, Tensor], labels: Labels, _: Any) -> dict[str, Tensor]:
    return {"alpha": F.l1_loss(given["alpha"], labels["alpha"])}


_FAMILIES: dict[str, Callable[[Mapping[str, Tensor], Labels, Any], dict[str, Tensor]]] = {
    "ppmattingv2-lite": _lite,
    "ppmattingv2": _ppmattingv2,
    "ppmatting": _ppmatting,
    "modnet": _modnet,
    "human_matting": _human,
    "dim": _dim,
    "gca": _gca,
}
"""By the beginning of the network's name; the longer one first."""
