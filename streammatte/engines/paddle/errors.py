"""What Paddle's calls raise becomes a ModelError."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from streammatte.errors import ModelError, StreammatteError
from streammatte.optional_imports import told

__all__ = ["LESS_MEMORY", "out_of_memory", "paddle_calls"]

LESS_MEMORY = "take a smaller --batch or --size"
"""What a user can do where memory is short."""
_SHORT = ("ResourceExhausted", "could not create a memory")
"""How Paddle and oneDNN say so where the kind of error does not."""


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
