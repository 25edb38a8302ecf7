"""The processor as this process sees it."""

from __future__ import annotations

import importlib
import logging
import os
import threading
from functools import cache
from typing import Any

__all__ = ["available_cores", "import_pymatting", "set_threads"]

_MOST = 4
"""More decoder threads than this win nothing while the network needs the other cores."""


def set_threads(stream: Any, threads: int) -> None:
    """Set a video stream's decoder threads; 0 chooses.

    One thread costs the least per frame (960x540 H.264: 1.16 ms of a core against 1.37 ms with two frame threads;
    1080x1920 HEVC: 4.5 against 4.6), so two cores, which the network keeps busy anyway, get one. Larger machines
    trade those per cents for a decoder that is never the bottleneck.
    """
    cores = available_cores()
    count = threads or (1 if cores <= 2 else min(cores, _MOST))
    stream.thread_type = "SLICE" if count == 1 else "AUTO"
    stream.thread_count = count


log = logging.getLogger(__name__)

SILENCE = 3.0
"""Seconds of importing before it is told why: from numba's cache it takes one or two."""

_turn = threading.Lock()


def import_pymatting() -> Any:
    """The package; says by a notice in the log what a first import takes so long for."""
    with _turn:
        return _imported()


@cache
def _imported() -> Any:
    teller = threading.Timer(SILENCE, _tell)
    teller.daemon = True
    teller.start()
    try:
        package = importlib.import_module("pymatting")
    finally:
        teller.cancel()
    # its advice for who sets thresholds, which it prints on standard output, where a video or JSON may be going out
    vars(importlib.import_module("pymatting.preconditioner.ichol"))["print"] = _advise
    return package


def _tell() -> None:
    log.warning("compiling PyMatting, once; this takes half a minute", extra={"notice": True})


def _advise(*words: object) -> None:
    if text := " ".join(map(str, words)).strip():
        log.info("PyMatting: %s", text)


def available_cores() -> int:
    """Processor cores that this process may use: a container or ``taskset`` may leave it fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
