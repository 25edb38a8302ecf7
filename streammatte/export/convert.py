"""From the form a network is here in to the form an engine or a user wants."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from streammatte._version import __version__
from streammatte.cache import user_cache_dir
from streammatte.errors import ModelError
from streammatte.export.paddle_program import PARAMS, PROGRAMS, write_deploy, write_paddle
from streammatte.export.plan import plan
from streammatte.models.files import DEPLOY_NAMES, ModelFiles
from streammatte.models.graph import RULE_PLACE, is_normalised, normalised, read_graph, rule_text, static
from streammatte.models.input_rule import InputRule, SizeStep, read_deploy
from streammatte.optional_imports import need, told

__all__ = ["graph_of", "materialise", "save_as"]

log = logging.getLogger(__name__)


def materialise(files: ModelFiles, engine: str) -> ModelFiles:
    """The same network in a form that ``engine`` reads, converted into the user's cache where it has to be.

    A conversion serves every size: its height and width stay open where the form at hand has them open.

    Parameters
    ----------
    files : ModelFiles
    engine : {"openvino", "paddle"}

    Raises
    ------
    EngineUnavailableError
        The conversion needs a package that is not installed.
    ModelError
        There is no way from the form at hand to the engine's, or no room in the cache.
    """
    if engine == "openvino":
        if files.graphs:
            return files
        graph = _cached(files, "open.onnx", lambda path: _onnx(files, path, None))
        return replace(files, graphs={"float": graph})
    if files.program is not None:
        return files
    if files.weights is None:
        raise ModelError(
            f"{files.name} is here as {_form(files)}, which Paddle cannot run; "
            "give weights (.pdparams) or an exported Paddle model, or take --engine openvino"
        )
    # Paddle reads no program of a later version
    version = ".".join(need("paddle").__version__.split(".")[:2])
    folder = _cached(files, f"paddle{version}", lambda path: write_paddle(_network(files), path, files.rule))
    program = next(folder / name for name in PROGRAMS if (folder / name).is_file())
    return replace(files, program=program, params=folder / PARAMS)


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
        As :func:`streammatte.export.plan.plan`.
    ModelError, EngineUnavailableError
        As :func:`materialise`.
    OSError
        The disk is full; what is written of the file so far stays.
    """
    plan(files, target, to, size=size, precision=precision)
    target.parent.mkdir(parents=True, exist_ok=True)
    if to == "paddle":
        return _save_paddle(files, target, size)
    if to == "onnx":
        return _onnx(files, target, size)
    from streammatte.export.onnx import save_openvino

    model = graph_of(files, size, room=target.parent)
    model = change(model) if change else model
    model.set_rt_info(rule_text(_at(files.rule, size), normalises=True), RULE_PLACE)
    save_openvino(model, target, half=precision == "fp16")
    return target


def graph_of(files: ModelFiles, size: tuple[int, int] | None, kind: str = "float", room: Path | None = None) -> Any:
    """The network as an OpenVINO model that takes uint8 pictures, of any batch, its size fixed where one is given.

    Temporary files go into ``room``, or where the system has them.

    Raises
    ------
    ModelError
        It cannot be read, or cannot take the size.
    """
    with tempfile.TemporaryDirectory(prefix=".streammatte-", dir=room) as folder:
        graph = files.graphs.get(kind) or _onnx(files, Path(folder) / "model.onnx", None)
        try:
            model = read_graph(graph)
            if not is_normalised(model):
                model = normalised(model, files.mean, files.std)
            if size is not None:
                static(model, (-1, *size, 3))
        except RuntimeError as error:
            raise ModelError(f"{graph} cannot be read as a network for {size or 'any size'}: {told(error)}") from error
        return model.clone()


def _at(rule: InputRule, size: tuple[int, int] | None) -> InputRule:
    """The rule of a network whose size was fixed."""
    return replace(rule, size=size, steps=(SizeStep("fixed", size),)) if size else rule


def _save_paddle(files: ModelFiles, target: Path, size: tuple[int, int] | None) -> Path:
    if files.weights is not None:
        return write_paddle(_network(files), target, files.rule, size)
    if files.program is None or files.params is None:
        raise ModelError(f"{files.name} is here as {_form(files)}; a Paddle model can only be made of its weights")
    target.mkdir(parents=True, exist_ok=True)
    for path in (files.program, files.params):
        shutil.copyfile(path, target / path.name)
    write_deploy(target, files.rule, files.program.name, files.params.name, _title(files.program) or files.name)
    return target


def _title(program: Path) -> str:
    """The network's name in the ``deploy.yaml`` beside a program; empty where there is none."""
    for name in DEPLOY_NAMES:
        with suppress(ModelError):
            return read_deploy(program.with_name(name)).architecture
    return ""


def _onnx(files: ModelFiles, target: Path, size: tuple[int, int] | None) -> Path:
    """Write ``.onnx`` from weights, from a Paddle program or from another ``.onnx``."""
    from streammatte.export.onnx import onnx_to_onnx, program_to_onnx, to_onnx

    graph, rule = files.graphs.get("float"), _at(files.rule, size)
    if graph is not None and graph.suffix == ".onnx":
        if size is not None:
            return onnx_to_onnx(graph, target, size, rule)
        shutil.copyfile(graph, target)
        return target
    if files.weights is not None:
        network = _network(files)
        return to_onnx(network, target, getattr(network, "alpha_half", None), size, rule.trimap, rule)
    if files.program is None or files.params is None:
        raise ModelError(f"{files.name} is here as {_form(files)}, from which no ONNX can be made; give its weights")
    return program_to_onnx(files.program, files.params, target, size, rule)


def _network(files: ModelFiles) -> Any:
    from streammatte.networks.registry import create

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
    except OSError as error:
        if isinstance(error, ModelError) or error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise ModelError(
            f"no space left to convert a network into {place.parent}: free some, or set STREAMMATTE_HOME"
        ) from error
    finally:
        if work.is_dir():
            shutil.rmtree(work, ignore_errors=True)
        else:
            work.unlink(missing_ok=True)


def _form(files: ModelFiles) -> str:
    here = files.weights or files.program or files.graphs.get("float")
    return here.suffix if here is not None else "nothing"
