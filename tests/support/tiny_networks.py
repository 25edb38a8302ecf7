"""Networks of a few operations, saved as OpenVINO graphs: real engines run them, and what they give is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset15 as ops


def brightness_network(path: Path, white: float = 0.5) -> Path:
    """Alpha is the image's brightness, the mean of R, G, B; twice ``white`` where it is white."""
    image = ops.parameter([1, 3, -1, -1], np.float32, name="image")
    mean = ops.reduce_mean(image, np.array([1]), keep_dims=True)
    return _save(path, ops.add(ops.multiply(mean, np.float32(white)), np.float32(white)), [image])


def trimap_network(path: Path) -> Path:
    """Alpha is the trimap over 255, except that it is the image's brightness where the trimap is 128."""
    image = ops.parameter([1, 3, -1, -1], np.float32, name="image")
    trimap = ops.parameter([1, 1, -1, -1], np.float32, name="trimap")
    trimap.output(0).get_tensor().set_names({"trimap"})
    mean = ops.add(
        ops.multiply(ops.reduce_mean(image, np.array([1]), keep_dims=True), np.float32(0.5)), np.float32(0.5)
    )
    open_ = ops.equal(trimap, np.float32(128))
    return _save(path, ops.select(open_, mean, ops.divide(trimap, np.float32(255))), [image, trimap])


def _save(path: Path, result: ov.Node, inputs: list[ov.Node]) -> Path:
    inputs[0].output(0).get_tensor().set_names({"image"})
    ov.save_model(ov.Model([result], inputs, path.stem), str(path), compress_to_fp16=False)
    return path
