"""The processor as this process sees it."""

from __future__ import annotations

import os

__all__ = ["available_cores"]


def available_cores() -> int:
    """Processor cores that this process may use: a container or ``taskset`` may leave it fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
