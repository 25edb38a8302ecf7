"""Reading a graph, giving it its static shape, compiling it through the user's cache."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import openvino as ov

from streammatte.cache import user_cache_dir
from streammatte.errors import ModelError
from streammatte.models.files import ModelFiles
from streammatte.models.graph import TRIMAP, check_alpha, is_normalised, normalised, read_graph, static

__all__ = ["compile_cached", "first_line", "read_static"]

log = logging.getLogger(__name__)


def read_static(files: ModelFiles, graph: Path, shape: tuple[int, ...]) -> ov.Model:
    """Read a graph, put the normalisation in front where it has none, and fix its input to ``shape`` (N, H, W, 3).

    Raises
    ------
    ModelError
        The file is damaged, or the network cannot take this shape.
    """
    try:
        model = read_graph(graph)
        if not is_normalised(model):
            model = normalised(model, files.mean, files.std)
        for port in model.inputs:
            if TRIMAP not in port.names:
                port.add_names({"image"})
    except RuntimeError as error:
        raise ModelError(f"{graph} cannot be read as a network: {first_line(error)}") from error
    try:
        static(model, shape)
    except RuntimeError as error:
        raise ModelError(f"{graph.name} cannot take pictures of {shape[1]}x{shape[2]}: {first_line(error)}") from error
    try:
        check_alpha(model)
    except ModelError as error:
        raise ModelError(f"{graph}: {error}") from error
    return model


def compile_cached(core: ov.Core, model: ov.Model, device: str, settings: dict[str, Any]) -> ov.CompiledModel:
    """Compile through the user's cache; where that is damaged, without it. Raises ModelError."""
    folder = user_cache_dir("openvino")
    try:
        return core.compile_model(model, device, {**settings, "CACHE_DIR": str(folder)})
    except RuntimeError as error:
        log.warning(
            "the cache of compiled networks in %s is not usable (%s); compiling anew", folder, first_line(error)
        )
    try:
        return core.compile_model(model, device, settings)
    except RuntimeError as error:
        raise ModelError(f"the network cannot be compiled for {device}: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """The line of an OpenVINO message that says what is wrong; the others tell where in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return (told or lines or [type(error).__name__])[0].rstrip(":")
