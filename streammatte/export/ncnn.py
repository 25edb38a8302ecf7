"""ncnn, for phones: a network converted through ONNX and pnnx, run and compared with its source."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from streammatte.child_process import in_child
from streammatte.errors import ConfigError, ModelError
from streammatte.export.convert import save_as
from streammatte.export.difference import Difference, compare, run_converter
from streammatte.frames import F32, U8
from streammatte.models.files import ModelFiles
from streammatte.optional_imports import need

__all__ = ["save_ncnn"]

INPUT, OUTPUT = "in0", "out0"
"""pnnx's names of a graph's first input and output."""


def save_ncnn(files: ModelFiles, target: Path, images: Sequence[U8], size: tuple[int, int]) -> Difference:
    """Write a network as ncnn's ``.param`` and ``.bin``, for one size of input.

    Its input ``in0`` takes RGB as (rgb / 255 - mean) / std, its output ``out0`` is alpha.

    Parameters
    ----------
    files : ModelFiles
    target : Path
        The ``.param`` file.
    images : sequence of ndarray (H, W, 3) uint8 RGB
        What it is compared on.
    size : (int, int)
        Height and width.

    Raises
    ------
    ConfigError
        The network needs a trimap.
    ModelError
        pnnx or ncnn cannot take it.
    EngineUnavailableError
        They are not installed.
    """
    if files.rule.trimap:
        raise ConfigError(f"{files.name} needs a trimap; --to ncnn takes networks of one input")
    executable = need("pnnx", "--to ncnn", "ncnn").EXEC_PATH
    with tempfile.TemporaryDirectory(prefix=".streammatte-", dir=target.parent) as name:
        folder = Path(name)
        graph = save_as(files, folder / "model.onnx", "onnx", size=size)
        parts = folder / "model.ncnn.param", folder / "model.ncnn.bin"
        command = [executable, graph.name, f"inputshape=[1,3,{size[0]},{size[1]}]", "fp16=1"]
        run_converter("pnnx", files.name, command, folder, parts)
        found: Difference = in_child(_compare, files, parts, graph, images, size)  # ncnn may crash over a graph
        parts[0].replace(target)
        parts[1].replace(target.with_suffix(".bin"))
    return found


def _compare(
    files: ModelFiles, parts: tuple[Path, Path], graph: Path, images: Sequence[U8], size: tuple[int, int]
) -> Difference:
    ncnn = need("ncnn", "--to ncnn", "ncnn")
    net = ncnn.Net()
    if net.load_param(str(parts[0])) or net.load_model(str(parts[1])):
        raise ModelError(f"ncnn cannot read what pnnx made of {files.name}: it lacks an operation")
    return compare("ncnn", files, graph, images, size, lambda planes: _run(ncnn, net, planes))


def _run(ncnn: Any, net: Any, planes: F32) -> F32 | None:
    """Alpha, copied: ncnn's own arrays must be gone before the network is."""
    extractor = net.create_extractor()
    extractor.input(INPUT, ncnn.Mat(planes))
    failed, given = extractor.extract(OUTPUT)
    return None if failed else np.array(given, np.float32)
