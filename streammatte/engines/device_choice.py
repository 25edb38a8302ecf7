"""The fastest of OpenVINO's devices for a network: measured once, for a second each, and cached."""

from __future__ import annotations

import hashlib
import json
import logging
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np

from streammatte.cache import user_cache_dir
from streammatte.errors import StreammatteError
from streammatte.models.files import ModelFiles
from streammatte.optional_imports import import_openvino
from streammatte.protocols import Engine

__all__ = ["fastest_device", "known_figures"]

log = logging.getLogger(__name__)

SECONDS = 1.0
"""How long each device is measured."""
WARM_UP = 3
"""Runs before the clock starts."""
_FILE = "devices.json"


def fastest_device(files: ModelFiles, options: dict[str, Any], make: Callable[..., Engine]) -> str:
    """The device that ``auto`` chooses: ``cpu``, or what this machine has beside it where that is faster.

    Parameters
    ----------
    files : ModelFiles
    options : dict
        Of the engine, without ``device``.
    make : callable
        Opens an engine from ``files``, a ``device`` and ``options``.
    """
    core = import_openvino().Core()
    devices = [str(name) for name in core.available_devices]
    if devices == ["CPU"]:
        return "cpu"
    names = [f"{name}: {core.get_property(name, 'FULL_DEVICE_NAME')}" for name in devices]
    key = _key(files, options, names)
    known = known_figures().get(key)
    if known is None:
        known = {"network": files.name, "size": list(options["size"]), "ms": _measured(files, options, make, devices)}
        _keep(key, known)
    times: dict[str, float] = known["ms"]
    best = min(times, key=lambda name: times[name]) if times else "cpu"
    log.info("device %s of %s", best, ", ".join(f"{name} ({ms:.1f} ms)" for name, ms in times.items()))
    return best


def known_figures() -> dict[str, Any]:
    """What was measured before: entries with ``network``, ``size`` and ``ms`` by device."""
    try:
        kept = json.loads((user_cache_dir() / _FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _measured(
    files: ModelFiles, options: dict[str, Any], make: Callable[..., Engine], devices: list[str]
) -> dict[str, float]:
    """Milliseconds an image by device; those that fail are left out."""
    found: dict[str, float] = {}
    for device in (name.lower().replace(".", ":") for name in devices):
        try:
            with closing(make(files, device=device, **options)) as engine:
                found[device] = _milliseconds(engine)
        except (StreammatteError, RuntimeError) as error:
            log.info("device %s is left out: %s", device, error)
    return found


def _milliseconds(engine: Engine) -> float:
    images = np.full((1, *engine.input_size, 3), 128, np.uint8)
    times: list[float] = []
    begin = time.perf_counter()
    while len(times) < 2 * WARM_UP or time.perf_counter() - begin < SECONDS:
        start = time.perf_counter()
        engine.submit(images).result()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[WARM_UP:])


def _key(files: ModelFiles, options: dict[str, Any], names: list[str]) -> str:
    facts = [files.name, str(files.graphs.get("float")), *names, json.dumps(options, sort_keys=True, default=str)]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def _keep(key: str, entry: dict[str, Any]) -> None:
    try:
        text = json.dumps(known_figures() | {key: entry}, indent=1)
        (user_cache_dir() / _FILE).write_text(text, encoding="utf-8")
    except OSError as error:
        log.debug("the devices' figures cannot be kept: %s", error)
