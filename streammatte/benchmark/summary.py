"""Figures of a benchmark: medians over its rounds, and the machine they were taken on."""

from __future__ import annotations

import os
import platform
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from streammatte.runtime import available_cores

__all__ = ["STAGES", "machine", "median_ratio", "peak_rss_mb", "summarize"]

STAGES = ("decode", "inference", "composite", "encode")


def summarize(rounds: list[dict[str, Any]], cores: int) -> dict[str, Any]:
    """Medians over rounds as :class:`_Bench` measures them, on a machine of so many cores."""
    runs = [measured["end_to_end"] for measured in rounds]

    def median(digits: int, values: Iterable[float]) -> float:
        return round(statistics.median(values), digits)

    cpu_ms = [sum(stage["cpu_ms"] for stage in measured["stages"].values()) for measured in rounds]
    stages = {
        name: {key: median(3, (measured["stages"][name][key] for measured in rounds)) for key in ("fps", "cpu_ms")}
        for name in STAGES
    }
    return {
        "frames": runs[0]["frames"],
        "rounds": len(runs),
        "stages": stages,
        "end_to_end": {
            "fps": median(2, (run["fps"] for run in runs)),
            "all_fps": [round(run["fps"], 2) for run in runs],
            "cpu_ms": median(3, (run["cpu_ms"] for run in runs)),
            "cpu_percent": median(1, (run["cpu_percent"] for run in runs)),
        },
        "best_possible_fps": round(cores / sum(stage["cpu_ms"] for stage in stages.values()) * 1000, 2),
        "efficiency": median(3, (run["fps"] * used / 1000 / cores for run, used in zip(runs, cpu_ms, strict=True))),
        "latency_ms": {key: median(2, (run["latency_ms"][key] for run in runs)) for key in ("p50", "p95", "p99")},
        "drops": sum(run["drops"] for run in runs),
        "output_bytes": runs[-1]["output_bytes"],
    }


def median_ratio(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> float:
    """Median over rounds, measured in turn, of the first setting's end-to-end rate over the second's."""
    ratios = [a["end_to_end"]["fps"] / b["end_to_end"]["fps"] for a, b in zip(first, second, strict=True)]
    return float(statistics.median(ratios))


def machine() -> dict[str, Any]:
    """The machine in words: processor, cores this process may use, memory, system."""
    return {
        "processor": _processor(),
        "cores": available_cores(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
        if hasattr(os, "sysconf")
        else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def peak_rss_mb() -> float | None:
    """The most memory that this process has had, in MiB; None where the system does not count it."""
    try:
        import resource
    except ImportError:  # Windows has no such count
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 1024), 1)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
