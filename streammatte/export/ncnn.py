"""ncnn, for phones: a network by way of ONNX and pnnx, run and compared with what it was made of."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streammatte.errors import ConfigError, ModelError
from streammatte.export.child import in_child
from streammatte.export.convert import save_as
from streammatte.models.files import ModelFiles
from streammatte.models.graph import normalised, read_graph, static
from streammatte.optional_imports import import_openvino, need

__all__ = ["BAD_DIFFERENCE", "Difference", "save_ncnn"]

BAD_DIFFERENCE = 0.02
"""Largest difference of alpha from float32 above which the user is warned."""
INPUT, OUTPUT = "in0", "out0"
"""pnnx's names of a graph's first input and output."""
_AT_MOST = 600.0
"""Seconds for a conversion."""

U8 = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Difference:
    """Of ncnn's alpha from float32's: the largest, over so many images; and milliseconds an image on this processor."""

    largest: float
    images: int
    ms: float

    def __str__(self) -> str:
        return (
            f"ncnn against f32: largest difference {self.largest:.4f} on {self.images} images; "
            f"{self.ms:.0f} ms an image on this processor"
        )


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
        command = [executable, graph.name, f"inputshape=[1,3,{size[0]},{size[1]}]", "fp16=1"]
        how: dict[str, Any] = {"capture_output": True, "text": True, "errors": "replace", "timeout": _AT_MOST}
        try:
            done = subprocess.run(command, cwd=folder, check=False, **how)
        except subprocess.TimeoutExpired:
            raise ModelError(f"pnnx is not done with {files.name} after {_AT_MOST:g} seconds") from None
        parts = folder / "model.ncnn.param", folder / "model.ncnn.bin"
        if done.returncode or not all(part.is_file() for part in parts):
            said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
            raise ModelError(f"pnnx cannot convert {files.name}: {said[-1] if said else f'exit {done.returncode}'}")
        found: Difference = in_child(_compare, files, parts, graph, images, size)  # ncnn may crash over a graph
        parts[0].replace(target)
        parts[1].replace(target.with_suffix(".bin"))
    return found


def _compare(
    files: ModelFiles, parts: tuple[Path, Path], graph: Path, images: Sequence[U8], size: tuple[int, int]
) -> Difference:
    ncnn = need("ncnn", "--to ncnn", "ncnn")
    expected = _in_float(files, graph, size)
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (files.rule.mean, files.rule.std))
    differences, times = [], []
    net = ncnn.Net()
    if net.load_param(str(parts[0])) or net.load_model(str(parts[1])):
        raise ModelError(f"ncnn cannot read what pnnx made of {files.name}: it lacks an operation")
    for image in images:
        planes = np.ascontiguousarray((image.transpose(2, 0, 1) / np.float32(255) - mean) / std, np.float32)
        start = time.perf_counter()
        alpha = _run(ncnn, net, planes)
        times.append(time.perf_counter() - start)
        wanted = expected(image)
        if alpha is None or alpha.size != wanted.size:
            raise ModelError(f"ncnn gives no alpha {wanted.shape} for {files.name}")
        differences.append(float(np.abs(alpha.reshape(wanted.shape) - wanted).max()))
    return Difference(max(differences), len(images), 1000 * statistics.median(times))


def _run(ncnn: Any, net: Any, planes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32] | None:
    """Alpha, copied: ncnn's own arrays must be gone before the network is."""
    extractor = net.create_extractor()
    extractor.input(INPUT, ncnn.Mat(planes))
    failed, given = extractor.extract(OUTPUT)
    return None if failed else np.array(given, np.float32)


def _in_float(files: ModelFiles, graph: Path, size: tuple[int, int]) -> Any:
    ov = import_openvino()
    model = normalised(read_graph(graph), files.rule, files.reading, size)
    static(model, (1, *size, 3))
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda image: np.array(compiled([image[None]])[0][0], np.float32)
