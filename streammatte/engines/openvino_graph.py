"""Reading a graph, giving it its static shape, compiling it through the user's cache."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from streammatte.cache import trim, user_cache_dir
from streammatte.errors import ModelError
from streammatte.models.files import ModelFiles
from streammatte.models.graph import check_alpha, first_line, normalised, read_graph, static
from streammatte.optional_imports import import_openvino

__all__ = ["compile_cached", "read_static"]

ov = import_openvino()
log = logging.getLogger(__name__)


def read_static(files: ModelFiles, graph: Path, shape: tuple[int, ...]) -> Any:
    """Read a graph, put the normalisation in front where it has none, and fix its input's shape.

    Parameters
    ----------
    files : ModelFiles
        Gives the normalisation.
    graph : Path
        Of ``files.graphs``.
    shape : tuple of int
        (N, H, W, 3).

    Raises
    ------
    ModelError
        The file is damaged, or the network cannot take this shape.
    """
    try:
        model = normalised(read_graph(graph), files.rule, files.reading, (shape[1], shape[2]))
    except RuntimeError as error:
        raise ModelError(f"{graph} cannot be read as a network: {first_line(error)}") from error
    try:
        static(model, shape)
    except RuntimeError as error:
        raise ModelError(f"{graph.name} cannot take images of {shape[2]}x{shape[1]}: {first_line(error)}") from error
    try:
        check_alpha(model)
    except ModelError as error:
        raise ModelError(f"{graph}: {error}") from error
    return model


def compile_cached(core: Any, model: Any, device: str, settings: dict[str, Any]) -> Any:
    """Compile through the user's cache, which OpenVINO keys by the model's content; without it where it is damaged.

    Parameters
    ----------
    core, model : openvino.Core, openvino.Model
    device : str
        OpenVINO's name.
    settings : dict

    Raises
    ------
    ModelError
        The device cannot run the network.
    """
    folder = user_cache_dir("openvino")
    try:
        compiled = core.compile_model(model, device, {**settings, "CACHE_DIR": str(folder)})
    except RuntimeError as error:
        log.warning(
            "the cache of compiled networks in %s is not usable (%s); compiling without it", folder, first_line(error)
        )
    else:
        trim("openvino")
        return compiled
    try:
        return core.compile_model(model, device, settings)
    except RuntimeError as error:
        raise ModelError(f"the network cannot be compiled for {device}: {first_line(error)}") from error
