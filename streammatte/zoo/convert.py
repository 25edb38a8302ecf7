"""From the form a network is here in to the form an engine or a user wants."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from streammatte._version import __version__
from streammatte.cache import user_cache_dir
from streammatte.errors import ConfigError, ModelError
from streammatte.zoo.graph import is_normalised, normalised, static
from streammatte.zoo.program import PARAMS, chatter_to_stderr, need, program_in, told, write_paddle
from streammatte.zoo.resolve import ModelFiles

__all__ = ["TARGETS", "graph_of", "materialise", "save_as"]

log = logging.getLogger(__name__)

TARGETS = ("paddle", "onnx", "openvino")
"""Forms a network is exported to: a folder with ``deploy.yaml``, an ``.onnx``, an ``.xml`` with its ``.bin``."""


def materialise(files: ModelFiles, engine: str, size: tuple[int, int]) -> ModelFiles:
    """The same network in a form that ``engine`` reads, converted into the user's cache where it has to be.

    Parameters
    ----------
    files : ModelFiles
    engine : {"openvino", "paddle"}
    size : (int, int)
        Height and width that it will run at; conversions are made for one size.

    Raises
    ------
    EngineUnavailableError
        The conversion needs a package that is not installed.
    ModelError
        There is no way from the form at hand to the engine's.
    """
    if engine == "openvino":
        if files.graphs:
            return files
        graph = _cached(files, f"{size[0]}x{size[1]}.onnx", lambda path: _onnx(files, path, size))
        return replace(files, graphs={"float": graph})
    if files.program is not None:
        return files
    if files.weights is None:
        raise ModelError(
            f"{files.name} is here as {_form(files)}, which Paddle cannot run; "
            "give weights (.pdparams) or an exported Paddle model, or take --engine openvino"
        )
    folder = _cached(files, "paddle", lambda path: write_paddle(_network(files), path, files.rule))
    return replace(files, program=program_in(folder), params=folder / PARAMS)


def save_as(
    files: ModelFiles,
    target: Path,
    to: str,
    *,
    size: tuple[int, int] | None = None,
    precision: str = "fp32",
    change: Callable[[Any], Any] | None = None,
) -> Path:
    """Write a network in another form.

    Parameters
    ----------
    files : ModelFiles
    target : Path
        A folder for ``paddle``, a ``.onnx`` or ``.xml`` file otherwise.
    to : {"paddle", "onnx", "openvino"}
    size : (int, int), optional
        Fixed height and width; without it both stay open where the form at hand has them open.
    precision : {"fp32", "fp16"}
        Of the weights as written; ``fp16`` for OpenVINO only.
    change : callable, optional
        What to do with the OpenVINO model before it is written (quantise it, say).

    Raises
    ------
    ConfigError
        The combination does not exist.
    ModelError, EngineUnavailableError
        As :func:`materialise`.
    """
    if to not in TARGETS:
        raise ConfigError(f"--to must be one of {', '.join(TARGETS)}; got {to!r}")
    if precision != "fp32" and to != "openvino":
        raise ConfigError(f"--precision {precision} is written for openvino only; --to {to} takes fp32")
    target.parent.mkdir(parents=True, exist_ok=True)
    if to == "paddle":
        return _save_paddle(files, target, size)
    if to == "onnx":
        return _onnx(files, target, size)
    from streammatte.zoo.export import save_openvino

    model = graph_of(files, size)
    save_openvino(change(model) if change else model, target, half=precision == "fp16")
    return target


def graph_of(files: ModelFiles, size: tuple[int, int] | None, kind: str = "float") -> Any:
    """The network as an OpenVINO model that takes uint8 pictures, of any batch, its size fixed where one is given.

    Raises
    ------
    ModelError
        It cannot be read, or cannot take the size.
    """
    import openvino as ov

    with tempfile.TemporaryDirectory(prefix="streammatte-") as folder:
        graph = files.graphs.get(kind) or _onnx(files, Path(folder) / "model.onnx", size)
        try:
            model = ov.Core().read_model(str(graph))
            if not is_normalised(model):
                model = normalised(model, files.mean, files.std)
            if size is not None:
                static(model, (-1, *size, 3))
        except RuntimeError as error:
            raise ModelError(f"{graph} cannot be read as a network for {size or 'any size'}: {told(error)}") from error
        return model.clone()


def _save_paddle(files: ModelFiles, target: Path, size: tuple[int, int] | None) -> Path:
    if files.weights is not None:
        return write_paddle(_network(files), target, files.rule, size)
    if files.program is None or files.params is None:
        raise ModelError(f"{files.name} is here as {_form(files)}; a Paddle model can only be made of its weights")
    if size is not None:
        raise ConfigError(f"{files.name} is exported already and keeps its sizes; leave --size out or give its weights")
    target.mkdir(parents=True, exist_ok=True)
    for path in (files.program, files.params, files.program.with_name("deploy.yaml")):
        if path.is_file():
            shutil.copyfile(path, target / path.name)
    return target


def _onnx(files: ModelFiles, target: Path, size: tuple[int, int] | None) -> Path:
    """Write ``.onnx`` from weights or from a Paddle program."""
    graph = files.graphs.get("float")
    if graph is not None and graph.suffix == ".onnx":
        shutil.copyfile(graph, target)
        return target
    if files.weights is not None:
        from streammatte.zoo.export import to_onnx

        network = _network(files)
        with chatter_to_stderr():
            return to_onnx(network, target, getattr(network, "alpha_half", None), size, files.rule.trimap)
    if files.program is None or files.params is None:
        raise ModelError(f"{files.name} is here as {_form(files)}, from which no ONNX can be made; give its weights")
    paddle2onnx = need("paddle2onnx")
    from streammatte.zoo.export import OPSET, repair

    try:
        with chatter_to_stderr():
            paddle2onnx.export(
                str(files.program), str(files.params), str(target), opset_version=OPSET, optimize_tool="None"
            )
    except (RuntimeError, TypeError, ValueError) as error:
        raise ModelError(f"{files.program} cannot be written as ONNX: {told(error)}") from error
    if not target.is_file():
        raise ModelError(f"{files.program} cannot be written as ONNX; paddle2onnx names the operator above")
    repair(target)
    return target


def _network(files: ModelFiles) -> Any:
    from streammatte.zoo.registry import create

    if files.architecture is None:
        raise ModelError(f"it is not known which network {files.weights} belongs to")
    return create(files.architecture, files.weights)


def _cached(files: ModelFiles, suffix: str, make: Callable[[Path], Path]) -> Path:
    """The converted file (or folder) of these very sources, made where it is not there."""
    digest = hashlib.sha256(f"{__version__} {files.architecture} {files.rule}".encode())
    for source in (files.weights, files.program, files.params):
        if source is not None:
            with source.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    place = user_cache_dir("converted") / f"{files.name}-{digest.hexdigest()[:16]}-{suffix}"
    if not place.exists():
        log.info("converting %s, once", files.name)
        with _work(place) as work:
            make(work)
            if not place.exists():
                work.replace(place)
    return place


@contextmanager
def _work(place: Path) -> Iterator[Path]:
    """A path beside ``place`` of this process's own; gone afterwards."""
    work = place.with_name(f".{os.getpid()}-{place.name}")
    try:
        yield work
    finally:
        if work.is_dir():
            shutil.rmtree(work, ignore_errors=True)
        else:
            work.unlink(missing_ok=True)


def _form(files: ModelFiles) -> str:
    here = files.weights or files.program or files.graphs.get("float")
    return here.suffix if here is not None else "nothing"
