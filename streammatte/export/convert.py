"""Conversion of a network from the form that is here to the form that an engine or a user needs."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from streammatte._version import __version__
from streammatte.cache import file_sha256, locked, trim, user_cache_dir, writing
from streammatte.child_process import in_child
from streammatte.errors import ModelError
from streammatte.export.paddle_program import PARAMS, PROGRAMS, write_deploy, write_paddle
from streammatte.export.plan import plan
from streammatte.export.quantize import Loss, Sample, quantise_measured
from streammatte.models.files import DEPLOY_NAMES, ModelFiles
from streammatte.models.graph import RULE_PLACE, first_line, normalised, read_graph, rule_text, static
from streammatte.models.input_rule import read_deploy
from streammatte.models.resolve import EMBEDDED, EMBEDDED_WEIGHTS
from streammatte.optional_imports import need
from streammatte.sinks.atomic import AtomicFolder

__all__ = ["convert_for_engine", "graph_of", "save_as", "save_int8"]

log = logging.getLogger(__name__)

Size = tuple[int, int] | None
"""Fixed height and width; None leaves both open where the source form has them open."""


def convert_for_engine(files: ModelFiles, engine: str) -> ModelFiles:
    """The same network in a form that ``engine`` reads, converted into the user's cache where it has to be.

    A conversion serves every size: its height and width stay open where the source form has them open.

    Parameters
    ----------
    files : ModelFiles
    engine : {"openvino", "onnxruntime", "paddle"}

    Raises
    ------
    EngineUnavailableError
        The conversion needs a package that is not installed.
    ModelError
        There is no conversion from this form to the engine's.
    DiskFullError
        There is no room in the cache.
    """
    if engine != "openvino":
        files = _of_weights(files)
    if engine != "paddle":
        if files.graphs and (engine == "openvino" or files.form == ".onnx"):
            return files
        if files.form == ".xml":
            raise ModelError(
                f"{files.name} is here as an OpenVINO graph, which ONNX Runtime cannot run; give ONNX or weights, or "
                "take --engine openvino"
            )
        folder = _cached(files, "onnx", _onnx_into)
        return replace(files, graphs={"float": folder / "model.onnx"})
    if files.program is not None:
        return files
    if files.weights is None:
        raise ModelError(
            f"{files.name} is here as {files.form}, which Paddle cannot run; "
            "give weights (.pdparams) or an exported Paddle model, or take --engine openvino"
        )
    # Paddle reads no program of a later version
    version = ".".join(need("paddle").__version__.split(".")[:2])
    folder = _cached(files, f"paddle{version}", _paddle_into)
    program = next(folder / name for name in PROGRAMS if (folder / name).is_file())
    return replace(files, program=program, params=folder / PARAMS)


def save_as(files: ModelFiles, target: Path, to: str, *, size: Size = None, precision: str = "f32") -> Path:
    """Write a network in another form.

    Parameters
    ----------
    files : ModelFiles
    target : Path
        A folder for ``paddle``, a ``.onnx`` or ``.xml`` file otherwise.
    to : {"paddle", "onnx", "openvino"}
    size : (int, int), optional
        Fixed height and width; without it both stay open where the source form has them open.
    precision : {"f32", "f16"}
        Of the weights as written; ``f16`` for OpenVINO only.

    Raises
    ------
    ConfigError
        As :func:`streammatte.export.plan.plan`.
    ModelError, EngineUnavailableError
        As :func:`convert_for_engine`.
    OSError
        The disk is full; what is written of the file so far stays.
    """
    if to != "openvino":
        files = _of_weights(files)
    plan(files, target, to, size=size, precision=precision)
    target.parent.mkdir(parents=True, exist_ok=True)
    if files.weights is not None or (to == "openvino" and not files.graphs) or (to == "onnx" and files.form != ".onnx"):
        in_child(_save, files, target, to, size, precision)
    else:
        _save(files, target, to, size, precision)
    return target


def save_int8(files: ModelFiles, target: Path, samples: Sequence[Sample], *, size: Size = None) -> Loss:
    """Write a network as OpenVINO graph in 8 bits; returns what that costs.

    Parameters
    ----------
    files : ModelFiles
    target : Path
        An ``.xml`` file.
    samples : sequence of Sample
        What it is calibrated on, as :func:`streammatte.export.quantize.quantise_measured` takes them.
    size : (int, int), optional
        As :func:`save_as`, and raises as that.
    """
    plan(files, target, "openvino", size=size, precision="int8")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".streammatte-", dir=target.parent) as folder:
        if not files.graphs:  # Paddle and NNCF in one process crash
            graph = Path(folder) / "model.onnx"
            in_child(_save, files, graph, "onnx", None, "f32")
            files = replace(files, graphs={"float": graph})
        return in_child(_save_int8, files, target, samples, size)


def graph_of(files: ModelFiles, size: Size, kind: str = "float", room: Path | None = None) -> Any:
    """The network as an OpenVINO model that takes uint8 images, of any batch.

    Parameters
    ----------
    files : ModelFiles
    size : (int, int), optional
        Fixed height and width.
    kind : {"float", "int8"}
    room : Path, optional
        Folder for temporary files, by default the system's.

    Raises
    ------
    ModelError
        It cannot be read, or cannot take the size.
    """
    with tempfile.TemporaryDirectory(prefix=".streammatte-", dir=room) as folder:
        graph = files.graphs.get(kind) or _onnx(files, Path(folder) / "model.onnx", None)
        try:
            model = normalised(read_graph(graph), files.rule, files.reading, size)
            if size is not None:
                static(model, (-1, *size, 3))
        except RuntimeError as error:
            sides = f"{size[1]}x{size[0]}" if size else "any size"
            raise ModelError(f"{graph} cannot be read as a network for {sides}: {first_line(error)}") from error
        return model.clone()


def _of_weights(files: ModelFiles) -> ModelFiles:
    """The embedded network as weights: its graphs are OpenVINO's alone."""
    if files.name in EMBEDDED and files.form == ".xml":
        return replace(files, graphs={}, weights=EMBEDDED_WEIGHTS, architecture=files.name)
    return files


def _save(files: ModelFiles, target: Path, to: str, size: Size, precision: str) -> None:
    if to == "paddle":
        _save_paddle(files, target, size)
    elif to == "onnx":
        _onnx(files, target, size)
    else:
        _save_openvino(graph_of(files, size, room=target.parent), files, target, size, half=precision == "f16")


def _save_int8(files: ModelFiles, target: Path, samples: Sequence[Sample], size: Size) -> Loss:
    model, loss = quantise_measured(graph_of(files, size, room=target.parent), samples)
    _save_openvino(model, files, target, size, half=True)
    return loss


def _save_openvino(model: Any, files: ModelFiles, target: Path, size: Size, half: bool) -> None:
    from streammatte.export.onnx import save_openvino

    model.set_rt_info(rule_text(files.rule.at(size), normalises=True), RULE_PLACE)
    save_openvino(model, target, half=half)


def _save_paddle(files: ModelFiles, target: Path, size: Size) -> None:
    if files.weights is not None:
        write_paddle(_network(files), target, files.rule, size)
        return
    if files.program is None or files.params is None:
        raise ModelError(f"{files.name} is here as {files.form}; a Paddle model can only be made of its weights")
    target.mkdir(parents=True, exist_ok=True)
    for path in (files.program, files.params):
        shutil.copyfile(path, target / path.name)
    write_deploy(target, files.rule, files.program.name, files.params.name, _title(files.program) or files.name)


def _title(program: Path) -> str:
    """The network's name in the ``deploy.yaml`` beside a program; empty where there is none."""
    for name in DEPLOY_NAMES:
        with suppress(ModelError):
            return read_deploy(program.with_name(name)).architecture
    return ""


def _onnx(files: ModelFiles, target: Path, size: Size) -> Path:
    """Write ``.onnx`` from weights, from a Paddle program or from another ``.onnx``."""
    from streammatte.export.onnx import onnx_to_onnx, program_to_onnx, to_onnx

    graph, rule = files.graphs.get("float"), files.rule.at(size)
    if graph is not None and graph.suffix == ".onnx":
        return Path(shutil.copyfile(graph, target)) if size is None else onnx_to_onnx(graph, target, size, rule)
    if files.weights is not None:
        return to_onnx(_network(files), target, size, rule)
    if files.program is None or files.params is None:
        raise ModelError(f"{files.name} is here as {files.form}, from which no ONNX can be made; give its weights")
    return program_to_onnx(files.program, files.params, target, size, rule)


def _network(files: ModelFiles) -> Any:
    from streammatte.networks import create

    if files.architecture is None:
        raise ModelError(f"it is not known which network {files.weights} belongs to")
    return create(files.architecture, files.weights)


def _onnx_into(files: ModelFiles, folder: Path) -> None:
    _onnx(files, folder / "model.onnx", None)


def _paddle_into(files: ModelFiles, folder: Path) -> None:
    write_paddle(_network(files), folder, files.rule)


def _cached(files: ModelFiles, form: str, make: Callable[[ModelFiles, Path], None]) -> Path:
    """The folder of the converted files, created; its name is a hash of the source's content."""
    digest = hashlib.sha256(f"{__version__} {files.architecture} {files.rule}".encode())
    for source in (files.weights, files.program, files.params):
        if source is not None:
            digest.update(file_sha256(source).encode())
    root = user_cache_dir("converted")
    cached = root / f"{files.name}-{digest.hexdigest()[:16]}-{form}"
    with writing(root), locked(root):
        if cached.exists():
            os.utime(cached)  # it is among the last that trim deletes
            return cached
        log.info("converting %s, once", files.name)
        work = AtomicFolder(cached)
        try:
            work.create()
            in_child(make, files, work.path)
            work.publish()
        finally:
            work.discard()
        trim("converted", keep=cached)
    return cached
