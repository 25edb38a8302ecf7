"""Processor, memory and native libraries available to this process."""

from __future__ import annotations

import ctypes
import importlib
import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from streammatte.errors import ModelError

__all__ = [
    "address_space_hint",
    "available_cores",
    "check_address_space",
    "ended_by",
    "import_pymatting",
    "in_background",
    "native_lines",
    "release_memory",
    "set_threads",
]

T = TypeVar("T")

_MAX = 4
"""More decoder threads than this win nothing while the network needs the other cores."""


def set_threads(stream: Any, threads: int) -> None:
    """Set a video stream's decoder threads; 0 chooses.

    One thread costs the least per frame (960x540 H.264: 1.16 ms of a core against 1.37 ms with two frame threads;
    1080x1920 HEVC: 4.5 against 4.6), so two cores, which the network keeps busy anyway, get one. Larger machines
    trade those per cents for a decoder that is never the bottleneck.
    """
    cores = available_cores()
    count = threads or (1 if cores <= 2 else min(cores, _MAX))
    stream.thread_type = "SLICE" if count == 1 else "AUTO"
    stream.thread_count = count


log = logging.getLogger(__name__)

NOTICE_AFTER = 3.0
"""Seconds of importing after which a notice is logged: from numba's cache it takes one or two."""

_MIN_ADDRESS_SPACE = 2_000_000 << 10
"""With less, 540p on two cores was seen to fail (1.8 GB), to crash and to loop for ever (0.8 GB)."""
_NEAR = 0.85

_LOOK = 0.1
"""Seconds between two looks at whether a wait is to be given up."""

_turn = threading.Lock()


def import_pymatting() -> Any:
    """The package; a notice in the log explains why a first import takes long."""
    with _turn:
        return _imported()


@cache
def _imported() -> Any:
    timer = threading.Timer(NOTICE_AFTER, _notify)
    timer.daemon = True
    timer.start()
    try:
        package = importlib.import_module("pymatting")
    finally:
        timer.cancel()
    # it prints advice on standard output, where a video or JSON may be written
    vars(importlib.import_module("pymatting.preconditioner.ichol"))["print"] = _advise
    return package


def _notify() -> None:
    log.warning("compiling PyMatting, once; this takes half a minute", extra={"notice": True})


def _advise(*values: object) -> None:
    if text := " ".join(map(str, values)).strip():
        log.info("PyMatting: %s", text)


def check_address_space() -> None:
    """Refuse to load networks and encoders where the process may not have the address space for them.

    Native libraries end the process or loop for ever where they get no memory, before an error can be raised.

    Raises
    ------
    ModelError
        The limit (``ulimit -v``) is below 2 GB.
    """
    limit = _address_space_limit()
    if limit is not None and limit < _MIN_ADDRESS_SPACE:
        raise ModelError(
            f"this process may use {limit >> 20} MB of address space (ulimit -v), which is not enough memory for a "
            f"network and an encoder; allow {_MIN_ADDRESS_SPACE >> 20} MB or more"
        )


def address_space_hint() -> str:
    """What to add to an error's message where the process has used nearly all the address space that it may."""
    limit = _address_space_limit()
    if limit is None:
        return ""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        peak = int(status.partition("VmPeak:")[2].split()[0]) << 10
    except (OSError, ValueError, IndexError):
        return ""
    near = peak > _NEAR * limit
    return f"; memory is short: this process may use {limit >> 20} MB of address space (ulimit -v)" if near else ""


def _address_space_limit() -> int | None:
    """Bytes; None where there is no limit, or none that can be known."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit == resource.RLIM_INFINITY else limit


def available_cores() -> int:
    """Processor cores that this process may use: a container or ``taskset`` may leave it fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def release_memory() -> None:
    """Give free memory back to the system; between two videos, whose buffers differ in size. Only glibc keeps it."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def ended_by(code: int) -> str:
    """How a child process ended, by its return code: a signal's name, or ``exit code N``."""
    names = {-known: known.name for known in signal.Signals}
    return names.get(code, f"exit code {code}")


@contextmanager
def native_lines(logger: logging.Logger) -> Iterator[None]:
    """Redirect what libraries (FFmpeg, OpenCV, Qt, ALSA) write to standard error to a log, at debug.

    The process's own descriptor is redirected meanwhile: use it around a single opening. Lines that this package's own
    logging wrote meanwhile from another thread are passed on.
    """
    try:
        before = os.dup(2)
    except OSError:  # no standard error
        yield
        return
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(before, 2)
            os.close(before)
            caught.seek(0)
            for line in caught.read().decode("utf-8", "replace").splitlines():
                if line.startswith(("warning: ", "error: ", "streammatte: ")):
                    sys.stderr.write(line + "\n")
                elif line.strip():
                    logger.debug("%s", line.strip())


def in_background(work: Callable[[], T], undo: Callable[[T], object], stop: threading.Event | None = None) -> T | None:
    """Run a call that may wait for the network in a thread of its own, so that the wait can be interrupted.

    Parameters
    ----------
    work : callable
        What it returns or raises is returned or raised here.
    undo : callable
        Takes a result that comes after the wait was given up.
    stop : threading.Event, optional
        Ends the wait; the result is then None. Without it only an exception in this thread (Ctrl-C) does.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:
            if future.set_running_or_notify_cancel():
                future.set_exception(error)
        else:
            if future.set_running_or_notify_cancel():
                future.set_result(result)
            else:
                undo(result)

    threading.Thread(target=run, name="streammatte-open", daemon=True).start()
    try:
        while stop is None or not stop.is_set():
            if wait([future], _LOOK).done:
                return future.result()
        raise _GivenUp
    except BaseException as error:
        if not future.cancel() and future.exception() is None:
            undo(future.result())
        if isinstance(error, _GivenUp):
            return None
        raise


class _GivenUp(Exception):
    """The wait ends without a result."""
