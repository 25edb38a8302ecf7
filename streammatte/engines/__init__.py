"""Engines: what runs a network. One door, :func:`open_engine`; an engine's package is imported when it is used."""

from __future__ import annotations

from streammatte.errors import ConfigError
from streammatte.stages import Engine
from streammatte.zoo.resolve import resolve

__all__ = ["ENGINES", "PRECISIONS", "open_engine"]

ENGINES = ("auto", "openvino")
"""What ``engine`` may be."""
PRECISIONS = ("auto", "int8", "bf16", "f16", "f32")
"""What ``precision`` may be."""


def open_engine(
    model: str = "ppmattingv2-lite",
    *,
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    size: tuple[int, int],
    batch: int = 1,
    threads: int = 0,
    throughput: bool = True,
) -> Engine:
    """Compile a network for one size of input.

    Parameters
    ----------
    model : str
        The name of an embedded network, or the path of an OpenVINO ``.xml`` or an ``.onnx``.
    engine : {"auto", "openvino"}
    device : str
        ``auto`` or ``cpu``; what OpenVINO names otherwise (``gpu``, ``npu``) is passed on to it.
    precision : {"auto", "int8", "bf16", "f16", "f32"}
        ``auto`` takes what the device does fast.
    size : (int, int)
        Height and width of the input; multiples of 32 for the embedded network.
    batch : int
        Pictures a submission, at most.
    threads : int
        CPU threads; 0 takes all cores.
    throughput : bool
        True for files: one stream a thread, several submissions under way. False for live pictures: one stream on all
        threads, the lowest latency.

    Raises
    ------
    ConfigError
        An argument is wrong.
    ModelNotFoundError, ModelError
        The network is not there, damaged, or cannot run.
    EngineUnavailableError
        The engine's package is not installed.
    """
    if engine not in ENGINES:
        raise ConfigError(f"engine must be one of {', '.join(ENGINES)}; got {engine!r}")
    if precision not in PRECISIONS:
        raise ConfigError(f"precision must be one of {', '.join(PRECISIONS)}; got {precision!r}")
    if batch < 1 or threads < 0:
        raise ConfigError(f"batch must be 1 or more and threads 0 or more; got batch {batch}, threads {threads}")
    files = resolve(model)
    if any(side < files.multiple or side % files.multiple for side in size):
        raise ConfigError(f"{files.name} takes heights and widths in multiples of {files.multiple}; got {size}")
    from streammatte.engines.openvino import OpenVINOEngine

    return OpenVINOEngine(
        files, device=device, precision=precision, size=size, batch=batch, threads=threads, throughput=throughput
    )
