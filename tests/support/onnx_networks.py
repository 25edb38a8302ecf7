"""Small ONNX graphs of third-party forms, whose output is known in closed form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

KEPT = 0.75
"""Share of its state that the recurrent network keeps in each image."""


def _save(path, nodes, inputs, outputs, constants, opset=17):
    parts = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, path.stem, inputs, outputs, parts)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return Path(path)


def _value(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def recurrent_network(path, *, half=False, names=("r1i", "r1o"), constant="downsample_ratio"):
    """As RVM's graphs are made: alpha is a running mean of brightness (state ``r1i``), the foreground half the image.

    A first state of one cell is enlarged.
    """
    kind, number = (TensorProto.FLOAT16, np.float16) if half else (TensorProto.FLOAT, np.float32)
    before, after = names
    nodes = [
        helper.make_node("ReduceMean", ["src"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Shape", ["mean"], ["shape"]),
        helper.make_node("Expand", [before, "shape"], ["state"]),
        helper.make_node("Mul", ["state", "kept"], ["old"]),
        helper.make_node("Mul", ["mean", "new_share"], ["new"]),
        helper.make_node("Add", ["old", "new"], [after]),
        helper.make_node("Cast", [constant], ["ratio"], to=kind),
        helper.make_node("Mul", [after, "ratio"], ["pha"]),
        helper.make_node("Mul", ["src", "half"], ["fgr"]),
    ]
    inputs = [
        _value("src", ["batch", 3, "height", "width"], kind),
        _value(before, ["batch", "channels", "h", "w"], kind),
        _value(constant, [1]),
    ]
    outputs = [
        _value("fgr", ["batch", 3, "height", "width"], kind),
        _value("pha", ["batch", 1, "height", "width"], kind),
        _value(after, ["batch", 1, "height", "width"], kind),
    ]
    constants = {"kept": number(KEPT), "new_share": number(1 - KEPT), "half": number(0.5)}
    return _save(path, nodes, inputs, outputs, constants)


def convolved_network(path, channels=1, layout="nchw", size=("height", "width")):
    """Channel k of what it gives is ``(k + 1) (0.3 R + 1.1 G + 2.3 B) - 1`` of what it is shown; no names that tell."""
    weights = np.stack([(k + 1) * np.array([0.3, 1.1, 2.3], np.float32) for k in range(channels)])[..., None, None]
    constants = {"weights": weights, "bias": np.full(channels, -1, np.float32)}
    nodes = [helper.make_node("Conv", ["x", "weights", "bias"], ["y"])]
    shapes = [["batch", 3, *size], ["batch", channels, *size]]
    if layout == "nhwc":
        nodes = [
            helper.make_node("Transpose", ["x0"], ["x"], perm=[0, 3, 1, 2]),
            *nodes,
            helper.make_node("Transpose", ["y"], ["y0"], perm=[0, 2, 3, 1]),
        ]
        shapes = [["batch", *size, 3], ["batch", *size, channels]]
        return _save(path, nodes, [_value("x0", shapes[0])], [_value("y0", shapes[1])], constants)
    return _save(path, nodes, [_value("x", shapes[0])], [_value("y", shapes[1])], constants)
