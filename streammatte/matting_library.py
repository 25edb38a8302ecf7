"""PyMatting, imported when it is first used: numba compiles all of it then, unless its cache has it."""

from __future__ import annotations

import importlib
import logging
import threading
from functools import cache
from typing import Any

__all__ = ["import_pymatting"]

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
    # its advice for who sets thresholds, which it prints on standard output, where a film or JSON may be going out
    vars(importlib.import_module("pymatting.preconditioner.ichol"))["print"] = _advise
    return package


def _tell() -> None:
    log.warning("compiling PyMatting, once; this takes half a minute", extra={"notice": True})


def _advise(*words: object) -> None:
    if text := " ".join(map(str, words)).strip():
        log.info("PyMatting: %s", text)
