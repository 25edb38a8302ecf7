"""OpenVINO graphs: the normalisation in front of the network, one form of input and output. Needs no Paddle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["is_normalised", "normalised"]


def is_normalised(model: Any) -> bool:
    """True where the graph takes uint8 pictures (N, H, W, 3), as :func:`normalised` makes it."""
    return len(model.inputs) == 1 and str(model.input(0).element_type.to_string()) == "u8"


def normalised(model: Any, mean: Sequence[float], std: Sequence[float]) -> Any:
    """Put the normalisation in front of a network and give its input and output the engine's form.

    Parameters
    ----------
    model : openvino.Model
        One input (N, 3, H, W) float32, the first output (N, 1, h, w) or (N, h, w) float32.
    mean, std : three floats
        Of RGB in [0, 1].

    Returns
    -------
    openvino.Model
        Takes ``image`` (N, H, W, 3) uint8 RGB, gives ``alpha`` (N, h, w) float32.
    """
    import openvino as ov
    from openvino import opset15 as ops
    from openvino.preprocess import PrePostProcessor

    alpha = model.get_results()[0].input_value(0)
    if alpha.get_partial_shape().rank.get_length() == 4:
        alpha = ops.squeeze(alpha, ops.constant(np.array([1], np.int64)), name="alpha").output(0)
    steps = PrePostProcessor(ov.Model([alpha], model.get_parameters(), model.get_friendly_name()))
    steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    steps.input().model().set_layout(ov.Layout("NCHW"))
    scale = [255 * value for value in std]
    steps.input().preprocess().convert_element_type(ov.Type.f32).mean([255 * value for value in mean]).scale(scale)
    model = steps.build()
    model.input(0).set_names({"image"})
    model.output(0).set_names({"alpha"})
    return model
