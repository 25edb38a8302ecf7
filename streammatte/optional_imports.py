"""Import packages of extras, with an error that names the extra."""

from __future__ import annotations

import importlib
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from streammatte.errors import EngineUnavailableError

__all__ = ["import_paddle", "need", "told"]


def need(package: str) -> Any:
    """Import a package of the ``export`` extra. Raises EngineUnavailableError where it is not installed."""
    if package == "paddle":
        return import_paddle("converting", "streammatte[export]")
    try:
        with _as_guest():
            return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise EngineUnavailableError(
            f"converting needs {package}, which is not installed; install streammatte[export]"
        ) from error


def import_paddle(purpose: str, extra: str = "streammatte[cpu] or streammatte[gpu]") -> Any:
    """Import Paddle as a guest, which leaves logging and warnings alone.

    Parameters
    ----------
    purpose : str
        What needs it, and ``extra`` what to install for that, as the error says.

    Raises
    ------
    EngineUnavailableError
        It is not installed, or its native libraries do not load.
    """
    try:
        with _as_guest():
            return importlib.import_module("paddle")
    except Exception as error:  # what a broken installation raises is not to be foreseen
        if isinstance(error, ModuleNotFoundError) and error.name == "paddle":
            raise EngineUnavailableError(f"{purpose} needs Paddle, which is not installed; install {extra}") from error
        raise EngineUnavailableError(
            f"the installed Paddle cannot be imported ({type(error).__name__}: {told(error)}); "
            "install it again, or take --engine openvino"
        ) from error


@contextmanager
def _as_guest() -> Iterator[None]:
    """Put the root logger back as it was, and leave out one warning.

    Paddle's import, which paddle2onnx's brings along, adds a handler to the root logger; 3.3 also sets that to INFO, so
    every library's messages would come out, an embedder's own twice. And it warns of a compiler cache that only who
    builds operators could use.
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


_CAUSE = re.compile(r"(?:\w+Error: )?(\(\w+\) \S.*)")


_NAMED = re.compile(r"\w+Error:")


_BESIDE = ("[Hint:", "[operator <")


def told(error: Exception) -> str:
    """The line of a Paddle message that says what is wrong.

    It begins with the kind in brackets, ``(InvalidArgument) The number of``, or, under a traceback, with the name of an
    error, ``InvalidArgumentError: The number of``, sometimes with the text a line below. What follows it are hints and
    places in Paddle's source.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [found[1] for line in lines if (found := _CAUSE.match(line))]
    named = [
        " ".join(lines[at : at + 2]) if line.endswith("Error:") else line
        for at, line in enumerate(lines)
        if _NAMED.match(line)
    ]
    others = [line for line in lines if not line.startswith(_BESIDE)]
    chosen = causes[0] if causes else (named or others or lines or [type(error).__name__])[-1]
    return chosen.partition(" (at ")[0][:300]
