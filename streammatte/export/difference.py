"""Comparison of a network converted for phones with its source graph."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from streammatte.errors import ModelError
from streammatte.frames import F32, U8
from streammatte.models.files import ModelFiles
from streammatte.models.graph import normalised, read_graph, static
from streammatte.optional_imports import import_openvino

__all__ = ["BAD_DIFFERENCE", "Difference", "compare", "run_converter"]

BAD_DIFFERENCE = 0.02
"""Largest difference of alpha from float32 above which the user is warned."""
_AT_MOST = 600.0
"""Seconds for a conversion."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Of a form's alpha from float32's: the largest over so many images; milliseconds an image on this processor."""

    form: str
    largest: float
    images: int
    ms: float

    def __str__(self) -> str:
        return (
            f"{self.form} against f32: largest difference {self.largest:.4f} on {self.images} images; "
            f"{self.ms:.0f} ms an image on this processor"
        )


def run_converter(
    tool: str, name: str, command: Sequence[str], folder: Path, made: Sequence[Path], beside: Path | None = None
) -> None:
    """Run a converter in a folder.

    Parameters
    ----------
    tool, name : str
        The converter's and the network's, for messages.
    command : sequence of str
    folder : Path
        Where it runs; whatever it leaves there is the caller's.
    made : sequence of Path
        What it must have written.
    beside : Path, optional
        Folder of programs that the converter calls.

    Raises
    ------
    ModelError
        It failed or took too long; its own last line is the reason.
    """
    how: dict[str, Any] = {"capture_output": True, "text": True, "errors": "replace", "timeout": _AT_MOST}
    if beside is not None:
        how["env"] = os.environ | {"PATH": f"{beside}{os.pathsep}{os.environ.get('PATH', '')}"}
    try:
        done = subprocess.run(command, cwd=folder, check=False, **how)
    except subprocess.TimeoutExpired:
        raise ModelError(f"{tool} is not done with {name} after {_AT_MOST:g} seconds") from None
    if done.returncode or not all(path.is_file() for path in made):
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        raise ModelError(f"{tool} cannot convert {name}: {lines[-1] if lines else f'exit {done.returncode}'}")


def compare(
    form: str, files: ModelFiles, graph: Path, images: Sequence[U8], size: tuple[int, int], run: Callable[[F32], Any]
) -> Difference:
    """Run a converted network beside the graph that it was made of.

    Parameters
    ----------
    form : str
        For messages.
    files : ModelFiles
    graph : Path
        The ONNX graph.
    images : sequence of ndarray (H, W, 3) uint8 RGB
    size : (int, int)
        Height and width of the network's input.
    run : callable
        Takes (3, h, w) float32, (rgb / 255 - mean) / std, and gives alpha float32 of any shape, or None.

    Raises
    ------
    ModelError
        It gives no alpha of the right size.
    """
    model = normalised(read_graph(graph), files.rule, files.reading, size)
    static(model, (1, *size, 3))
    compiled = import_openvino().Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (files.rule.mean, files.rule.std))
    differences, times = [], []
    for image in images:
        planes = np.ascontiguousarray((image.transpose(2, 0, 1) / np.float32(255) - mean) / std, np.float32)
        start = time.perf_counter()
        alpha = run(planes)
        times.append(time.perf_counter() - start)
        wanted = np.array(compiled([image[None]])[0][0], np.float32)
        if alpha is None or alpha.size != wanted.size:
            raise ModelError(f"{form} gives no alpha {wanted.shape} for {files.name}")
        differences.append(float(np.abs(alpha.reshape(wanted.shape) - wanted).max()))
    return Difference(form, max(differences), len(images), 1000 * statistics.median(times))
