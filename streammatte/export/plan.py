"""The files that a conversion will write; its arguments are checked before any work is done."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from streammatte.errors import ConfigError
from streammatte.export.paddle_program import PARAMS, PROGRAMS
from streammatte.models.files import DEPLOY_NAMES, ModelFiles

__all__ = ["TARGETS", "plan", "refuse_sources"]

TARGETS = {"paddle": "", "onnx": ".onnx", "openvino": ".xml", "ncnn": ".param", "tflite": ".tflite"}
"""Forms a network is exported to, with their suffix: a folder with ``deploy.yaml``, a file, two with a ``.bin``."""


def plan(
    files: ModelFiles, target: Path, to: str, *, size: tuple[int, int] | None = None, precision: str = "f32"
) -> tuple[Path, ...]:
    """The files that :func:`streammatte.export.convert.save_as` or ``save_int8`` may write, their arguments checked.

    Parameters
    ----------
    files, target, to, size
        As :func:`streammatte.export.convert.save_as`.
    precision : {"f32", "f16", "int8"}

    Raises
    ------
    ConfigError
        The combination does not exist, the network does not take the size, or a file is the network that is read.
    """
    if to not in TARGETS:
        raise ConfigError(f"--to must be one of {', '.join(TARGETS)}; got {to!r}")
    if precision != "f32" and to != "openvino":
        raise ConfigError(f"--precision {precision} is written for openvino only; --to {to} takes f32")
    if TARGETS[to] not in ("", target.suffix):
        raise ConfigError(f"--to {to} writes a file that ends in {TARGETS[to]}; got {target}")
    if size is not None:
        _check_size(files, to, size)
    written = _written(files, target, to)
    graphs = files.graphs.values()
    sources = (files.weights, files.program, files.params, *graphs, *(path.with_suffix(".bin") for path in graphs))
    refuse_sources((path for path in sources if path is not None), written)
    return written


def refuse_sources(sources: Iterable[Path], written: Iterable[Path]) -> None:
    """Raise ConfigError where a file to write is one that is read: it would be destroyed while it is read."""
    here = [path for path in sources if path.exists()]
    for path in written:
        if path.exists() and any(path.samefile(source) for source in here):
            raise ConfigError(f"{path} is the network that is read; give the output another name (export: with -o)")


def _check_size(files: ModelFiles, to: str, size: tuple[int, int]) -> None:
    given = f"--size {size[1]}x{size[0]}"
    if to == "paddle" and files.weights is None:
        raise ConfigError(
            f"{files.name} is exported already and keeps its sizes; leave {given} out or give its weights"
        )
    if files.rule.fixed not in (None, size):
        height, width = files.rule.fixed or size
        raise ConfigError(f"{files.name} takes {width}x{height} only; leave {given} out")
    if files.rule.fixed is None and any(side % files.multiple for side in size):
        raise ConfigError(f"{files.name} takes widths and heights in multiples of {files.multiple}; got {given}")


def _written(files: ModelFiles, target: Path, to: str) -> tuple[Path, ...]:
    if to != "paddle":
        return (target,) if to in ("onnx", "tflite") else (target, target.with_suffix(".bin"))
    names: tuple[str, ...] = (*PROGRAMS, PARAMS)
    if files.weights is None:
        names = tuple(path.name for path in (files.program, files.params) if path is not None)
    return tuple(target / name for name in (*names, DEPLOY_NAMES[0]))
