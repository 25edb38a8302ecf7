"""ONNX Runtime: the engine of GPUs and accelerators that neither OpenVINO nor Paddle serve, and of any CPU."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streammatte.engines.accelerators import ACCELERATORS
from streammatte.engines.inputs import check_inputs
from streammatte.engines.openvino_graph import read_static
from streammatte.engines.worker import QUEUED, Submission, Worker
from streammatte.errors import ConfigError, ModelError
from streammatte.frames import F32, U8
from streammatte.models.files import ModelFiles
from streammatte.models.graph import STATE, TRIMAP, needs_trimap, read_graph, read_ports
from streammatte.models.graph_rule import GraphRule
from streammatte.optional_imports import need
from streammatte.runtime import available_cores

__all__ = ["ONNXRuntimeEngine"]

log = logging.getLogger(__name__)


_CPU = "CPUExecutionProvider"
_FAST_F16 = ("cuda", "rocm", "dml")
"""Devices on which a graph in float16 is faster; CoreML makes its own choice."""
_AT_ONCE = 2
"""Batches that a GPU works on at once."""
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class ONNXRuntimeEngine:
    """Runs an ONNX graph with ONNX Runtime.

    Parameters
    ----------
    files : ModelFiles
        With an ``.onnx`` graph.
    device, precision, size, batch, threads, throughput
        As :func:`streammatte.engines.open_engine`; ``cpu``, ``gpu``, or a name of ``ACCELERATORS``.

    Raises
    ------
    ConfigError
        The device or the precision is not available.
    ModelError
        The graph cannot be read or run, or is no matting network.
    EngineUnavailableError
        ONNX Runtime is not installed.
    """

    name = "onnxruntime"

    def __init__(
        self,
        files: ModelFiles,
        *,
        size: tuple[int, int],
        device: str = "auto",
        precision: str = "auto",
        batch: int = 1,
        threads: int = 0,
        throughput: bool = True,
    ) -> None:
        ort = need("onnxruntime", "--engine onnxruntime", "onnxruntime")
        wanted = _device(device, ort.get_available_providers())
        self.precision, self.precision_reason = _precision(precision, wanted)
        graph = files.graphs["float"]
        settings = ort.SessionOptions()
        settings.log_severity_level = 3
        settings.intra_op_num_threads = threads or available_cores()
        try:
            source = _half(graph) if self.precision == "f16" else str(graph)
            self._session: Any = ort.InferenceSession(source, settings, providers=_providers(wanted))
        except Exception as error:  # its kinds of error have no common ancestor but this
            raise ModelError(f"{graph} cannot be read as a network: {_first_line(error)}") from error
        served = self._session.get_providers()[0]
        self.device = next((name for name, provider in ACCELERATORS.items() if provider == served), "cpu")
        if self.device != wanted:
            log.warning("ONNX Runtime cannot run %s on %s; it runs on %s", files.name, wanted, self.device)
        self._read_ports(files, size, graph)
        self.input_size = size
        self.batch = 1 if self.recurrent else batch
        # On a GPU two batches are under way at once, each with a stream of its own: while one is computed the other is
        # normalised and copied.
        threads = _AT_ONCE if self.device == "cuda" and throughput and not self.recurrent else 1
        self.in_flight = threads + QUEUED if throughput and not self.recurrent else 1
        self._local = threading.local()
        # (x / 255 - mean) / std, in float32 and in one pass
        mean, std = (np.array(values, np.float32)[None, :, None, None] for values in (files.rule.mean, files.rule.std))
        self._scale, self._shift = 1 / (255 * std), mean / std
        self._carried: dict[str, Any] = {}
        self._fresh = True
        self._worker = Worker(self._run, self.in_flight, "streammatte-onnxruntime", threads)
        self._try(size)
        log.info("onnxruntime on %s runs %s in %s: %s", self.device, files.name, self.precision, self.precision_reason)

    def submit(self, images: U8, trimaps: U8 | None = None) -> Submission:
        """Start on images (N, H, W, 3) uint8 RGB, N up to ``batch``.

        The memory is read, not copied: leave it alone until the result is there.
        ``trimaps`` (N, H, W) uint8 in {0, 128, 255} for a network that needs one. Waits where ``in_flight`` submissions
        are under way already.
        """
        check_inputs(images, trimaps, size=self.input_size, batch=self.batch, needs_trimap=self.needs_trimap)
        fresh, self._fresh = self._fresh, False
        return self._worker.submit(images, trimaps, fresh)

    def reset(self) -> None:
        """Forget the stream: a recurrent network begins with the next image."""
        self._fresh = True

    def close(self) -> None:
        """Wait for what is under way and release the device. Safe to call twice."""
        self._worker.close()
        self._session = None

    def _read_ports(self, files: ModelFiles, size: tuple[int, int], graph: Path) -> None:
        """Which input and which output is what; a recurrent network begins with states of zeros."""
        self._reading = files.reading
        try:
            model = read_graph(graph)
            self.needs_trimap = needs_trimap(model)
            ports = read_ports(model, files.reading, size)
        except (RuntimeError, ModelError) as error:
            raise ModelError(f"{graph}: {_first_line(error)}") from error
        begin = read_static(files, graph, (1, *size, 3))
        outputs = [port.name for port in self._session.get_outputs()]
        types = {port.name: _TYPES.get(port.type, np.float32) for port in self._session.get_inputs()}
        shapes = {port.name: port.shape for port in self._session.get_inputs()}
        self._image, self._alpha = ports.image, outputs[ports.alpha]
        self._foreground = None if ports.foreground is None else outputs[ports.foreground]
        self._states = dict(ports.states)
        self.recurrent = bool(self._states)
        self._types = types
        self._numbers = {name: np.full([1] * len(shapes[name]), value) for name, value in ports.numbers.items()}
        self._begin = {
            name: np.zeros(list(begin.input(f"{STATE}{index}").shape), types[name])
            for index, name in enumerate(ports.states)
        }

    def _try(self, size: tuple[int, int]) -> None:
        """Run once, so that the first frames do not wait."""
        images = np.zeros((1, *size, 3), np.uint8)
        trimaps = np.full(images.shape[:3], 128, np.uint8) if self.needs_trimap else None
        try:
            self.submit(images, trimaps).result()
        except BaseException:
            self.close()
            raise
        self.reset()

    def _run(self, images: U8, trimaps: U8 | None, fresh: bool) -> tuple[F32, F32 | None]:
        """Normalise, run, read: alpha (N, h, w) and the foreground (N, h, w, 3). Raises ModelError."""
        planes = images.transpose(0, 3, 1, 2) * self._scale - self._shift
        if self._reading.channels == "bgr":
            planes = planes[:, ::-1]
        if self._reading.layout == "nhwc":
            planes = planes.transpose(0, 2, 3, 1)
        try:
            binding = self._session.io_binding()
            buffer = self._pinned_buffer(planes.shape)
            if buffer is None:
                self._bind(binding, self._image, planes)
            else:
                buffer.numpy()[:] = planes
                binding.bind_ortvalue_input(self._image, buffer)
            if trimaps is not None:
                self._bind(binding, TRIMAP, trimaps[:, None])
            for name, value in self._numbers.items():
                self._bind(binding, name, value)
            for name, zero in self._begin.items():
                if fresh or name not in self._carried:
                    self._bind(binding, name, zero)
                else:
                    binding.bind_ortvalue_input(name, self._carried[name])  # stays on its device
            kept = list(self._states.values())
            shown = [self._alpha] if self._foreground is None else [self._alpha, self._foreground]
            for name in shown:
                binding.bind_output(name)
            for name in kept:
                binding.bind_output(name, "cuda" if self.device == "cuda" else "cpu")
            self._session.run_with_iobinding(binding)
            given = dict(zip([*shown, *kept], binding.get_outputs(), strict=True))
        except Exception as error:  # as above
            self._carried = {}
            raise ModelError(f"inference failed: {_first_line(error)}") from error
        self._carried = {name: given[after] for name, after in self._states.items()}
        alpha = _as_alpha(given[self._alpha].numpy().astype(np.float32), self._reading)
        if self._foreground is None:
            return alpha, None
        colours = given[self._foreground].numpy().astype(np.float32)
        return alpha, colours if self._reading.layout == "nhwc" else np.moveaxis(colours, 1, -1)

    def _pinned_buffer(self, shape: tuple[int, ...]) -> Any:
        """Input of the calling thread in page-locked memory, which a GPU reads beside other work; None else None."""
        if self.device != "cuda":
            return None
        kept = getattr(self._local, "buffer", None)
        if kept is None or kept.shape() != list(shape):
            self._local.buffer = kept = _pinned(shape, self._types[self._image])
        return kept

    def _bind(self, binding: Any, name: str, values: npt.NDArray[Any]) -> None:
        binding.bind_cpu_input(name, np.ascontiguousarray(values, self._types[name]))


def _device(device: str, available: list[str]) -> str:
    """``cpu`` or a name of ``ACCELERATORS``. Raises ConfigError."""
    here = [name for name, provider in ACCELERATORS.items() if provider in available]
    if device in ("auto", "gpu", "gpu:0"):
        if device != "auto" and not here:
            raise ConfigError(
                "the installed ONNX Runtime has no GPU; install onnxruntime-gpu or onnxruntime-directml, "
                "or take --device cpu"
            )
        return (here or ["cpu"])[0]
    if device != "cpu" and device not in here:
        raise ConfigError(f"onnxruntime has no device {device!r} here; it has {', '.join((*here, 'cpu'))}")
    return device


def _providers(device: str) -> list[Any]:
    return [_CPU] if device == "cpu" else [ACCELERATORS[device], _CPU]


def _pinned(shape: tuple[int, ...], kind: Any) -> Any:
    """A tensor in page-locked memory of the first CUDA device, or None. Raises nothing: plain memory works too."""
    try:
        ort = need("onnxruntime")
        memory = next(
            device.memory_info(ort.OrtDeviceMemoryType.HOST_ACCESSIBLE)
            for device in ort.get_ep_devices()
            if device.ep_name == ACCELERATORS["cuda"]
        )
        return ort.OrtValue.ortvalue_from_shape_and_type(list(shape), kind, memory_info=memory)
    except Exception as error:  # StopIteration, an older runtime, or no such memory
        log.debug("no page-locked memory: %s", error)
        return None


def _precision(precision: str, device: str) -> tuple[str, str]:
    """The precision and why. Raises ConfigError."""
    if precision not in ("auto", "f32", "f16"):
        raise ConfigError(f"onnxruntime runs a graph as it is, or in f16; got --precision {precision}")
    if precision != "auto":
        return precision, "as chosen"
    return "f32", "the graph's own" + ("; --precision f16 is faster there" if device in _FAST_F16 else "")


def _half(graph: Path) -> bytes:
    """The graph in float16, with float32 inputs and outputs."""
    onnx = need("onnx")
    made = need("onnxruntime.transformers.float16").convert_float_to_float16(
        onnx.load(str(graph)), keep_io_types=True, disable_shape_infer=True
    )
    data: bytes = made.SerializeToString()
    return data


def _as_alpha(given: npt.NDArray[Any], reading: GraphRule) -> F32:
    """Alpha (N, h, w) in [0, 1] of what the network gives."""
    if given.ndim == 4:
        planes = given if reading.layout == "nchw" else np.moveaxis(given, -1, 1)
        if reading.range == "softmax":
            raised = np.exp(planes - planes.max(axis=1, keepdims=True))
            planes = raised / raised.sum(axis=1, keepdims=True)
        given = planes[:, reading.channel]
    if reading.range == "logits":
        given = np.float32(1) / (1 + np.exp(-given))
    elif reading.range == "levels":
        given = given / np.float32(255)
    elif reading.range == "minmax":
        low, high = (f(given, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
        given = (given - low) / np.maximum(high - low, np.float32(1e-6))
    return np.ascontiguousarray(given)


def _first_line(error: Exception) -> str:
    """The line of a message that describes the fault, without the runtime's error codes."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0].split("] : ")[-1].rpartition(" : ")[2] or type(error).__name__
