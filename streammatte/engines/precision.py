"""Which arithmetic a network runs in: what the user chose, or what the device does fast."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from streammatte.errors import ConfigError
from streammatte.models.files import ModelFiles

__all__ = ["Plan", "choose"]

_CAPABILITY = {"int8": "INT8", "bf16": "BF16", "f16": "FP16", "f32": "FP32"}
"""Precision -> what OpenVINO calls it among a device's capabilities; the fastest first."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The arithmetic, the graph that has it, the type of what stays in floating point, and why."""

    precision: str
    graph: Path
    float_type: str
    reason: str


def choose(precision: str, capabilities: Collection[str], files: ModelFiles) -> Plan:
    """Choose the arithmetic.

    Parameters
    ----------
    precision : {"auto", "int8", "bf16", "f16", "f32"}
    capabilities : collection of str
        OpenVINO's ``OPTIMIZATION_CAPABILITIES`` of the device.
    files : ModelFiles

    Raises
    ------
    ConfigError
        The network has no 8-bit version, or the device lacks the type.
    """
    possible = [
        kind
        for kind, capability in _CAPABILITY.items()
        if kind == "f32" or (capability in capabilities and (kind != "int8" or "int8" in files.graphs))
    ]
    if precision == "auto":
        chosen = possible[0]
        reason = f"the fastest of {', '.join(possible)} that the processor and the network have"
    elif precision == "int8" and "int8" not in files.graphs:
        raise ConfigError(
            f"{files.name} has no int8 version; --precision may be auto, {', '.join(possible)}, or make one: "
            "streammatte models export MODEL --precision int8 --calibrate VIDEO"
        )
    elif precision != "int8" and precision not in possible:
        raise ConfigError(f"this device has no {precision} arithmetic; --precision may be auto, {', '.join(possible)}")
    else:
        chosen, reason = precision, "as chosen"
    int8 = chosen == "int8"
    return Plan(chosen, files.graphs["int8" if int8 else "float"], "f32" if int8 else chosen, reason)
