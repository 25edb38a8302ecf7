"""What native code prints while it converts: kept back, and shown where the conversion fails."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

__all__ = ["hushed"]

log = logging.getLogger(__name__)

_turn = threading.RLock()
"""Standard output and error are the process's: two that keep them back at once would restore each other's files."""


@contextmanager
def hushed() -> Iterator[None]:
    """Keep what is printed on standard output and error from the user, unless the block fails or the log is at debug.

    On failure it goes to standard error before the exception goes on; at debug it goes there at once. It never goes to
    standard output: a video may be going out there. What Python writes by ``sys.stderr`` (the log, warnings, other
    threads' tracebacks) is let through.
    """
    with _turn, _own_stderr(), tempfile.TemporaryFile() as caught:
        loud = log.isEnabledFor(logging.DEBUG)
        sys.stdout.flush()
        kept = os.dup(1), os.dup(2)
        try:
            os.dup2(2 if loud else caught.fileno(), 1)
            if not loud:
                os.dup2(caught.fileno(), 2)
            with _told_on_abort(caught, kept[1]):
                yield
        except Exception:
            _restore(kept)
            _show(caught)
            raise
        finally:
            _restore(kept)
            for number in kept:
                os.close(number)


def _restore(kept: tuple[int, int]) -> None:
    with suppress(ValueError):  # somebody closed it
        sys.stdout.flush()
    os.dup2(kept[0], 1)
    os.dup2(kept[1], 2)


@contextmanager
def _told_on_abort(caught: IO[bytes], stderr: int) -> Iterator[None]:
    """Show what was caught also where native code ends the whole process, as paddle2onnx does over some operators."""
    if sys.platform == "win32":
        yield
        return
    import ctypes

    number = caught.fileno()

    def show(_: int) -> None:
        os.dup2(stderr, 2)
        _write(2, os.pread(number, os.fstat(number).st_size, 0))

    # Python's own handlers wait for its next instruction, which never comes; when this one returns, abort goes on
    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(show)
    install = ctypes.CDLL(None).signal
    install.restype, install.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p]
    before = install(signal.SIGABRT, ctypes.cast(handler, ctypes.c_void_p))
    try:
        yield
    finally:
        install(signal.SIGABRT, before)


def _show(caught: IO[bytes]) -> None:
    caught.seek(0)
    with suppress(OSError):  # nobody reads it
        _write(2, caught.read())


def _write(number: int, data: bytes) -> None:
    while data:
        data = data[os.write(number, data) :]


class _Through(io.TextIOBase):
    """Writes to a file descriptor of its own, and to standard error once that is closed.

    A library that is imported meanwhile may keep it in a handler, so it has to go on working.
    """

    def __init__(self) -> None:
        self._number = os.dup(2)

    def write(self, text: str) -> int:
        _write(self._number, text.encode(errors="backslashreplace"))
        return len(text)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def end(self) -> None:
        """Close the descriptor; from here on this is standard error."""
        number, self._number = self._number, 2
        os.close(number)


@contextmanager
def _own_stderr() -> Iterator[None]:
    """Let ``sys.stderr``, and the log's handlers that hold it, write where standard error leads now."""
    before = sys.stderr
    try:
        direct = before.fileno() == 2
    except (AttributeError, ValueError, io.UnsupportedOperation):  # missing, closed, or a test's own
        direct = False
    if not direct:
        yield
        return
    before.flush()
    handlers = [
        handler
        for name in ("", "streammatte")
        for handler in logging.getLogger(name).handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream is before
    ]
    through = _Through()
    _point(handlers, through)
    sys.stderr = through
    try:
        yield
    finally:
        _point(handlers, before)
        if sys.stderr is through:
            sys.stderr = before
        through.end()


def _point(handlers: list[logging.StreamHandler[Any]], stream: IO[str] | io.TextIOBase) -> None:
    for handler in handlers:
        handler.setStream(stream)
