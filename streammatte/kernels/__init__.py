"""Numba kernels: pure functions over arrays, no classes, no I/O."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numba

from streammatte.cache import trim, user_cache_dir

__all__ = ["EXACT", "njit"]

EXACT = {"nnan", "ninf", "nsz"}
"""``fastmath`` of kernels made of several functions: sums keep their order and nothing is contracted. LLVM does both
where it inlines, and differently in the process that compiles and in those that find the code in the cache."""


def njit(*signatures: Any, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """``numba.njit`` for this package's kernels, compiled code kept in the user's cache.

    Numba reads the place of its cache when a function is decorated, from a setting that holds for every user of numba
    in the process; so that is set meanwhile only. ``NUMBA_CACHE_DIR`` takes precedence.

    Parameters
    ----------
    *signatures, **options
        As ``numba.njit`` takes them.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        before = numba.config.CACHE_DIR
        numba.config.CACHE_DIR = before or _folder()
        try:
            return numba.njit(*signatures, **options)(function)
        finally:
            numba.config.CACHE_DIR = before

    return decorate


@cache
def _folder() -> str:
    trim("numba")
    return str(user_cache_dir("numba"))
