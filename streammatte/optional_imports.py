"""Import packages of extras, with an error that names the extra."""

from __future__ import annotations

import importlib
import logging
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from streammatte.errors import EngineUnavailableError

__all__ = ["import_openvino", "import_paddle", "message", "need"]

_KIND = re.compile(r"(?:\w+Error: )?(\(\w+\) \S.*)")
_NAME = re.compile(r"\w+Error:")


def need(package: str, purpose: str = "converting", extra: str = "export") -> Any:
    """Import a package of an extra. Raises EngineUnavailableError where it is not installed.

    Parameters
    ----------
    package : str
        What is imported.
    purpose : str
        What needs it, for the message.
    extra : str
        The extra that installs it.
    """
    if package == "paddle":
        return import_paddle("converting", "streammatte[export]")
    try:
        with _host_unchanged():
            return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise EngineUnavailableError(
            f"{purpose} needs {package}, which is not installed; install streammatte[{extra}]"
        ) from error


def import_openvino() -> Any:
    """Import OpenVINO without its telemetry.

    OpenVINO's package reports its import to Intel, from a forked process; this product sends nothing. Where the host
    has imported OpenVINO itself, nothing is changed.

    Raises
    ------
    EngineUnavailableError
        It is not installed.
    """
    try:
        with _absent("openvino_telemetry"):
            return importlib.import_module("openvino")
    except ImportError as error:
        raise EngineUnavailableError("the openvino engine needs openvino; install streammatte again") from error


@contextmanager
def _absent(package: str) -> Iterator[None]:
    """Let imports inside find that a package is not installed; OpenVINO then takes a stand-in of its own."""
    if "openvino" in sys.modules:
        yield
        return
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == package}
    for name in before:
        del sys.modules[name]
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[package]
        sys.modules.update(before)


def import_paddle(purpose: str, extra: str = "streammatte[cpu] or streammatte[gpu]") -> Any:
    """Import Paddle without letting it change the root logger or warn about ccache.

    Parameters
    ----------
    purpose : str
        What needs it, for the error.
    extra : str
        What to install for that.

    Raises
    ------
    EngineUnavailableError
        It is not installed, or its native libraries do not load.
    """
    try:
        with _host_unchanged():
            return importlib.import_module("paddle")
    except Exception as error:  # a broken installation may raise anything
        if isinstance(error, ModuleNotFoundError) and error.name == "paddle":
            raise EngineUnavailableError(f"{purpose} needs Paddle, which is not installed; install {extra}") from error
        raise EngineUnavailableError(
            f"the installed Paddle cannot be imported ({type(error).__name__}: {message(error)}); "
            "install it again, or take --engine openvino"
        ) from error


@contextmanager
def _host_unchanged() -> Iterator[None]:
    """Restore the root logger, to which Paddle's import adds a handler at INFO, and leave one warning out.

    paddle2onnx imports Paddle too. The warning is about a compiler cache that only builders of operators can use.
    """
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="No ccache found")
            yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def message(error: Exception) -> str:
    """The line of a Paddle message that describes the fault.

    It begins with the kind in brackets, ``(InvalidArgument) The number of``, or, under a traceback, with the name of an
    error, ``InvalidArgumentError: The number of``, sometimes with the text a line below. What follows it are hints and
    places in Paddle's source.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [found[1] for line in lines if (found := _KIND.match(line))]
    named = [
        " ".join(lines[at : at + 2]) if line.endswith("Error:") else line
        for at, line in enumerate(lines)
        if _NAME.match(line)
    ]
    others = [line for line in lines if not line.startswith(("[Hint:", "[operator <"))]
    chosen = causes[0] if causes else (named or others or lines or [type(error).__name__])[-1]
    return chosen.partition(" (at ")[0][:300]
