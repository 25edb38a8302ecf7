"""A function called in a fresh Python process, where a crash, a hang or a changed environment hurts nobody.

The child imports from where this process imports, never from the folder the user happens to stand in; it reads nothing
from standard input, and its output is caught, since a video may be going out on ours.
"""

from __future__ import annotations

import importlib
import json
import logging
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from streammatte.engines.paddle.errors import LESS_MEMORY, out_of_memory
from streammatte.errors import ModelError
from streammatte.optional_imports import told

__all__ = ["Answer", "answer", "call_in_child"]

log = logging.getLogger(__name__)

_CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "from streammatte.engines.paddle.subprocess_call import answer; answer(*sys.argv[1:])"
)
_TOKEN = "streammatte-child:"
"""Marks the answer among what native code prints."""
_CRASHES = frozenset({"SIGSEGV", "SIGABRT", "SIGILL", "SIGFPE", "SIGBUS"})
"""Signals that a program earns itself; the others come from outside, SIGKILL where memory is short."""
_WINDOWS_CRASH = 0xC0000000
"""Exit codes from here on are Windows' own for a crash."""
_MEMORY_WORDS = ("bad_alloc", "ResourceExhausted", "Out of memory")
"""What native code says on its way down where memory is short."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a call in a child ended.

    Parameters
    ----------
    kind : str
        ``done``; ``refused``: it raised or crashed, and would again; ``model``: it raised a ModelError, whose text is
        for the user; ``passing``: no time, no memory, no Python to start, a signal from outside, and another try may
        end better.
    reason : str
        Why it is not done, on one line.
    """

    kind: Literal["done", "refused", "model", "passing"]
    reason: str = ""


def call_in_child(module: str, *arguments: str, seconds: float, environment: Mapping[str, str] | None = None) -> Answer:
    """Call ``module.in_child(*arguments)`` in a process of its own and wait for it.

    Parameters
    ----------
    module : str
        Name of a module of this package.
    arguments : str
    seconds : float
        After these the child is ended.
    environment : mapping, optional
        The child's environment variables; this process's where none are given.
    """
    if why := _no_python():
        return Answer("passing", why)
    folders = json.dumps([entry for entry in sys.path if isinstance(entry, str)])
    command = [sys.executable, "-P", "-c", _CHILD, folders, module, *arguments]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        return Answer("passing", f"no answer in {seconds:.0f} s")
    except OSError as error:
        return Answer("passing", f"{sys.executable} cannot be started: {error.strerror or error}")
    log.debug("%s in a child ended with %d\n%s%s", module, done.returncode, done.stdout, done.stderr)
    for line in reversed(done.stdout.splitlines()):
        if line.startswith(_TOKEN):
            return Answer(**json.loads(line.removeprefix(_TOKEN)))
    return _unanswered(done.returncode, done.stderr)


def answer(module: str, *arguments: str) -> None:
    """The child's side of :func:`call_in_child`: call the function and print how it ended."""
    outcome = Answer("done")
    try:
        importlib.import_module(module).in_child(*arguments)
    except ModelError as error:
        outcome = Answer("model", str(error))
    except ImportError as error:  # the parent could import it, so it is this process that lacks something
        outcome = Answer("passing", told(error))
    except Exception as error:
        reason = told(error).split(" (at ")[0].strip()  # the rest names a line of Paddle's source
        outcome = Answer("passing", f"{reason}; {LESS_MEMORY}") if out_of_memory(error) else Answer("refused", reason)
    # the first line break ends what native code may have begun
    sys.stdout.write(f"\n{_TOKEN}{json.dumps({'kind': outcome.kind, 'reason': outcome.reason})}\n")
    sys.stdout.flush()


def _no_python() -> str:
    """Why no child can be started; empty where it can. A frozen application would start itself again."""
    if getattr(sys, "frozen", False):
        return "this application is frozen and has no Python to start"
    if not sys.executable:
        return "it is not known where this Python's program is"
    if not Path(sys.executable).name.lower().startswith(("python", "pypy")):
        return f"{sys.executable} is no Python by its name, maybe a program with Python inside"
    return ""


def _unanswered(code: int, errors: str) -> Answer:
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    short = any(word in line for line in lines for word in _MEMORY_WORDS)
    if code >= _WINDOWS_CRASH:
        return Answer("passing" if short else "refused", f"ended by code {code:#x}")
    if code >= 0:
        return Answer("passing", f"exit code {code} without an answer: {lines[-1] if lines else 'no message'}"[:300])
    name = next((known.name for known in signal.Signals if known == -code), str(-code))
    return Answer("refused" if name in _CRASHES and not short else "passing", f"ended by {name}")
