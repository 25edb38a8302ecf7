"""A function called in a Python process of its own, whose output is captured.

Paddle, paddle2onnx and NNCF print much output, change the process's logging, and may end the process over an
operator that they do not support; none of that reaches the caller.
"""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from streammatte.errors import ModelError, StreammatteError
from streammatte.optional_imports import message
from streammatte.runtime import ended_by

__all__ = ["in_child"]

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

SHOWN = 4000
"""Characters of a failed process's output that are logged, from its end."""


def in_child(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function of this package in another process.

    What it prints is logged: at debug, and as a warning where it fails. Where no Python can be started, as in a frozen
    application, it is called in this process.

    Parameters
    ----------
    function : callable
        Of a module's top level. What it takes and gives is pickled.
    *args, **kwargs
        Of the function.

    Raises
    ------
    StreammatteError, OSError
        As the function.
    ModelError
        It raised anything else, or its process crashed.
    """
    if not _can_start():
        return function(*args, **kwargs)
    with tempfile.TemporaryDirectory(prefix="streammatte-") as folder:
        call, result = Path(folder) / "call", Path(folder) / "result"
        with call.open("wb") as file:
            pickle.dump((function, args, kwargs), file)
        # it imports from where this process does, and -P keeps the user's current folder out
        paths = os.pathsep.join(entry for entry in sys.path if isinstance(entry, str) and entry)
        done = subprocess.run(
            [sys.executable, "-P", "-m", "streammatte.child_process", str(call), str(result)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": paths},
            check=False,
        )
        output = done.stdout.decode(errors="replace").strip()
        value: T
        error: Exception | None
        if result.is_file():
            value, error = pickle.loads(result.read_bytes())
        else:
            error = ModelError(f"the process that converts ended without a result ({ended_by(done.returncode)})")
    if error is None:
        log.debug("%s printed:\n%s", function.__name__, output)
        return value
    if output:
        log.warning("before it failed, the process that converts printed:\n%s", output[-SHOWN:])
    raise error


def _can_start() -> bool:
    """Whether ``sys.executable`` is a Python: a frozen application, or a program with Python inside, is not."""
    name = Path(sys.executable or "").name.lower()
    return name.startswith(("python", "pypy")) and not getattr(sys, "frozen", False)


def _main(call: Path, result: Path) -> None:
    """The child's side of :func:`in_child`."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # no telemetry
    with call.open("rb") as file:
        function, args, kwargs = pickle.load(file)
    value, error = None, None
    try:
        value = function(*args, **kwargs)
    except (StreammatteError, OSError) as raised:
        error = raised
    except Exception as raised:
        traceback.print_exc()
        error = ModelError(f"{type(raised).__name__}: {message(raised)}")
    result.write_bytes(pickle.dumps((value, error)))


if __name__ == "__main__":
    _main(*map(Path, sys.argv[1:]))
