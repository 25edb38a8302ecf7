"""LiteRT (TensorFlow Lite), for phones: converted through ONNX and onnx2tf, run and compared with its source."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from streammatte.child_process import in_child
from streammatte.errors import ConfigError, EngineUnavailableError
from streammatte.export.convert import save_as
from streammatte.export.difference import Difference, compare, run_converter
from streammatte.frames import F32, U8
from streammatte.models.files import ModelFiles
from streammatte.models.graph import read_graph
from streammatte.optional_imports import need
from streammatte.runtime import available_cores

__all__ = ["save_tflite"]

_SAMPLES = "calibration_image_sample_data_20x128x128x3_float32.npy"
"""Images that onnx2tf runs its graph on; where they are not in its folder it fetches them from a server."""


def save_tflite(files: ModelFiles, target: Path, images: Sequence[U8], size: tuple[int, int]) -> Difference:
    """Write a network as a ``.tflite`` file in float32, for one size of input.

    Its input (1, H, W, 3) takes RGB as (rgb / 255 - mean) / std, its output is alpha (1, h, w, 1).

    Parameters
    ----------
    files, target, images, size
        As :func:`streammatte.export.ncnn.save_ncnn`.

    Raises
    ------
    ConfigError
        The network needs a trimap.
    ModelError
        onnx2tf cannot take it.
    EngineUnavailableError
        onnx2tf or LiteRT is not installed.
    """
    if files.rule.trimap:
        raise ConfigError(f"{files.name} needs a trimap; --to tflite takes networks of one input")
    tool = shutil.which("onnx2tf")
    if tool is None:
        raise EngineUnavailableError(
            "--to tflite needs onnx2tf on PATH, in an environment of its own, since it takes an older NumPy: "
            "pipx install onnx2tf && pipx inject onnx2tf tensorflow"
        )
    need("ai_edge_litert", "--to tflite", "tflite")
    with tempfile.TemporaryDirectory(prefix=".streammatte-", dir=target.parent) as name:
        folder = Path(name)
        graph = save_as(files, folder / "model.onnx", "onnx", size=size)
        np.save(folder / _SAMPLES, np.random.default_rng(0).random((20, 128, 128, 3), np.float32))
        made = folder / "made" / "model_float32.tflite"
        shape = f"{_input_name(graph)}:1,3,{size[0]},{size[1]}"
        command = [tool, "-i", graph.name, "-ois", shape, "-o", "made", "-n"]
        run_converter("onnx2tf", files.name, command, folder, [made], beside=Path(os.path.realpath(tool)).parent)
        found: Difference = in_child(_compare, files, made, graph, images, size)
        made.replace(target)
    return found


def _input_name(graph: Path) -> str:
    return str(read_graph(graph).input(0).any_name)


def _compare(files: ModelFiles, made: Path, graph: Path, images: Sequence[U8], size: tuple[int, int]) -> Difference:
    lite = need("ai_edge_litert.interpreter", "--to tflite", "tflite")
    interpreter = lite.Interpreter(str(made), num_threads=available_cores())
    interpreter.allocate_tensors()
    return compare("LiteRT", files, graph, images, size, lambda planes: _run(interpreter, planes))


def _run(interpreter: Any, planes: F32) -> F32:
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], planes.transpose(1, 2, 0)[None])
    interpreter.invoke()
    return np.array(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]), np.float32)
