"""Engines: what runs a network. :func:`open_engine` opens one; an engine's package is imported when it is used."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import Any

from streammatte.engines.accelerators import ACCELERATORS, accelerator
from streammatte.errors import ConfigError, ModelError
from streammatte.models.files import ModelFiles
from streammatte.models.resolve import resolve
from streammatte.protocols import Engine
from streammatte.runtime import check_address_space

__all__ = ["ENGINES", "PRECISIONS", "choose_engine", "open_engine"]

log = logging.getLogger(__name__)

ENGINES = ("auto", "openvino", "onnxruntime", "paddle")
"""What ``engine`` may be."""
PRECISIONS = ("auto", "int8", "bf16", "f16", "f32")
"""What ``precision`` may be."""
_TO_ONNX = ("paddle2onnx", "onnx")
"""Packages that the conversion from Paddle to OpenVINO needs."""


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
    trt: bool = False,
    average: str = "off",
) -> Engine:
    """Compile a network for one size of input.

    Parameters
    ----------
    model : str
        A name or a path, as :func:`streammatte.models.resolve.resolve` takes it.
    engine : {"auto", "openvino", "onnxruntime", "paddle"}
        ``auto`` chooses as :func:`choose_engine` does; the choice and its reason are logged.
    device : str
        ``auto`` (of OpenVINO's the fastest, measured once), ``cpu``, ``gpu`` or ``gpu:N``; what OpenVINO names
        otherwise (``npu``) is passed on to it; ONNX Runtime also takes ``cuda``, ``rocm``, ``dml`` and ``coreml``.
    precision : {"auto", "int8", "bf16", "f16", "f32"}
        ``auto`` takes what the device does fast.
    size : (int, int)
        Height and width of the input; multiples of 32 for the embedded network.
    batch : int
        Images a submission, at most.
    threads : int
        CPU threads; 0 takes all cores.
    throughput : bool
        True for files: one stream a thread, several submissions under way. False for live video: one stream on all
        threads, the lowest latency.
    trt : bool
        TensorRT, for the paddle engine on a GPU.
    average : {"off", "flip"}
        ``flip`` averages with the matte of the mirror image.

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
    check_address_space()
    files = resolve(model)
    given, fixed = f"{size[1]}x{size[0]}", files.rule.fixed
    if fixed not in (None, size):
        raise ConfigError(f"{files.name} takes {fixed[1]}x{fixed[0]} only; got {given}")
    if fixed is None and any(side < files.multiple or side % files.multiple for side in size):
        raise ConfigError(f"{files.name} takes widths and heights in multiples of {files.multiple}; got {given}")
    if trt and engine == "auto":
        engine = "paddle"
    if trt and engine != "paddle":
        raise ConfigError(f"--trt is the paddle engine's; got --engine {engine}")
    chosen, reason = choose_engine(engine, device, files)
    log.info("engine %s: %s", chosen, reason)
    if chosen != "openvino" or not files.graphs:
        from streammatte.export.convert import convert_for_engine

        files = convert_for_engine(files, chosen)
    options: dict[str, Any] = {"device": device, "precision": precision, "size": size, "batch": batch}
    options |= {"threads": threads, "throughput": throughput}

    def opened() -> Engine:
        if chosen == "paddle":
            from streammatte.engines.paddle.engine import PaddleEngine

            return PaddleEngine(files, **options, trt=trt)
        if chosen == "onnxruntime":
            from streammatte.engines.onnxruntime import ONNXRuntimeEngine

            return ONNXRuntimeEngine(files, **options)
        return _on_openvino(files, options)

    made = opened()
    if average == "flip":
        from streammatte.engines.averaged import FlipAveragedEngine

        return FlipAveragedEngine(made, opened() if made.recurrent else None)
    return made


def _on_openvino(files: ModelFiles, options: dict[str, Any]) -> Engine:
    """OpenVINO on the named device, or on the fastest; where that fails, on the CPU."""
    from streammatte.engines.openvino import OpenVINOEngine

    if options["device"] != "auto" or files.rule.trimap:
        return OpenVINOEngine(files, **options)
    from streammatte.engines.device_choice import fastest_device

    others = {name: value for name, value in options.items() if name != "device"}
    device = fastest_device(files, others, OpenVINOEngine)
    try:
        return OpenVINOEngine(files, device=device, **others)
    except ModelError as error:
        if device == "cpu":
            raise
        log.warning("%s cannot run on %s (%s); it runs on the CPU", files.name, device, error)
        return OpenVINOEngine(files, device="cpu", **others)


def choose_engine(engine: str, device: str, files: ModelFiles) -> tuple[str, str]:
    """The engine for a device and a network, and why.

    OpenVINO serves the CPU, where it runs these networks several times as fast as Paddle; Paddle Inference serves
    NVIDIA GPUs where its build with CUDA is installed and the network is here in a form that it reads, and networks
    that OpenVINO could read only through packages that are not installed.

    Parameters
    ----------
    engine : str
        A name, or ``auto``.
    device : str
        As ``--device``.
    files : ModelFiles
        What is here of the network.
    """
    if engine != "auto":
        return engine, "as chosen"
    on_gpu = device == "auto" or device.startswith("gpu")
    if device in ACCELERATORS:
        return "onnxruntime", f"it serves --device {device}"
    if not on_gpu and device != "cpu":
        return "openvino", f"the fastest on --device {device}"
    graph = files.graphs.get("float")
    if on_gpu and graph is not None and graph.suffix == ".onnx" and (found := accelerator()) is not None:
        return "onnxruntime", f"the installed ONNX Runtime serves {found}"
    if files.program is None and files.weights is None:
        return "openvino", f"{files.name} is here as a graph, which Paddle does not read"
    if find_spec("paddle") is None:
        return "openvino", "Paddle is not installed"
    missing = [] if files.graphs else [package for package in _TO_ONNX if find_spec(package) is None]
    if missing:
        return "paddle", f"OpenVINO reads {files.name} through {missing[0]}, which streammatte[export] would install"
    if not on_gpu:
        return "openvino", f"the fastest on --device {device}"
    return _for_the_gpu()


def _for_the_gpu() -> tuple[str, str]:
    from streammatte.optional_imports import import_paddle

    try:
        paddle = import_paddle("the paddle engine")
        if not paddle.device.is_compiled_with_cuda():
            return "openvino", f"the installed Paddle {paddle.__version__} is built for the CPU"
        count = paddle.device.cuda.device_count()
    except Exception as error:  # OpenVINO runs without Paddle
        log.warning("Paddle is left out: %s", error)
        return "openvino", "the installed Paddle does not work"
    if not count:
        return "openvino", "CUDA shows no GPU"
    return "paddle", f"CUDA shows {count} GPU{'s' if count > 1 else ''}"
