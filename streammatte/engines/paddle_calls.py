"""Paddle as a guest: its import leaves the process as it was, and what its calls raise becomes a ModelError."""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from streammatte.errors import EngineUnavailableError, ModelError, StreammatteError
from streammatte.zoo.program import told

__all__ = ["LESS_MEMORY", "import_paddle", "out_of_memory", "paddle_calls"]

LESS_MEMORY = "take a smaller --batch or --size"
"""What a user can do where memory is short."""
_SHORT = ("ResourceExhausted", "could not create a memory")
"""How Paddle and oneDNN say so where the kind of error does not."""


def import_paddle() -> Any:
    """Import Paddle and leave logging and warnings alone.

    Its import adds a handler to the root logger; 3.3 also sets that to INFO, so every library's messages would come
    out, an embedder's own twice. And it warns of a compiler cache that only who builds operators could use.

    Raises
    ------
    EngineUnavailableError
        It is not installed, or its native libraries do not load.
    """
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="No ccache found")
            return importlib.import_module("paddle")
    except Exception as error:  # what a broken installation raises is not to be foreseen
        if isinstance(error, ModuleNotFoundError) and error.name == "paddle":
            raise EngineUnavailableError(
                "the paddle engine needs Paddle, which is not installed; install streammatte[cpu] or streammatte[gpu]"
            ) from error
        raise EngineUnavailableError(
            f"the installed Paddle cannot be imported ({type(error).__name__}: {told(error)}); "
            "install it again, or take --engine openvino"
        ) from error
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


@contextmanager
def paddle_calls(failure: str, advice: str = "") -> Iterator[None]:
    """Turn what Paddle raises inside into a ModelError that begins with ``failure`` and ends with ``advice``.

    Its kinds of error reach Python as ValueError, IndexError, TypeError, NotImplementedError, MemoryError, SystemError
    (a failed check), OSError (CUDA, cuDNN), RuntimeError and its own EnforceNotMet, an Exception: so all are caught.

    Raises
    ------
    ModelError
    """
    try:
        yield
    except StreammatteError:
        raise
    except Exception as error:
        step = LESS_MEMORY if out_of_memory(error) else advice
        raise ModelError(f"{failure}: {told(error)}{'; ' if step else ''}{step}") from error


def out_of_memory(error: BaseException) -> bool:
    """True where memory ran out, of the machine or of the GPU."""
    named = isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__
    return named or any(words in str(error) for words in _SHORT)
