"""OpenVINO: the engine of the CPU."""

from __future__ import annotations

import logging
import re
import threading
from collections import Counter, deque
from typing import Any

import numpy as np

from streammatte.engines.inputs import check_inputs
from streammatte.engines.openvino_graph import compile_cached, read_static
from streammatte.engines.precision import choose
from streammatte.errors import ConfigError, ModelError
from streammatte.frames import F32, U8
from streammatte.models.files import ModelFiles
from streammatte.models.graph import NEXT, TRIMAP, first_line, is_state, needs_trimap, static
from streammatte.optional_imports import import_openvino
from streammatte.runtime import available_cores

__all__ = ["OpenVINOEngine"]

ov = import_openvino()


log = logging.getLogger(__name__)


_ISA = re.compile(r"avx512(_amx|_vnni)?|avx2(_vnni)?|avx|sse4\d|neon|asimd|sve(_\d+)?")

QUEUED = 1
"""Submissions beyond the number of streams, so that a stream always has a next image."""


class _Submission:
    """A pending batch. Its request can be reused once it has settled."""

    def __init__(self, request: Any, images: tuple[U8, ...], count: int, *, coloured: bool) -> None:
        self.request = request
        self._coloured = coloured
        self._images: tuple[U8, ...] | None = images  # OpenVINO reads this memory until the request is done
        self._count = count
        self._alpha: F32 | None = None
        self._foreground: F32 | None = None
        self._fault: ModelError | None = None
        self._lock = threading.Lock()

    def settle(self) -> None:
        """Wait, and keep the result apart from the request."""
        with self._lock:
            if self._images is None:
                return
            try:
                self.request.wait()
                tensor = self.request.get_tensor
                self._alpha = np.array(tensor("alpha").data[: self._count], np.float32)
                if self._coloured:
                    self._foreground = np.array(tensor("foreground").data[: self._count], np.float32)
            except RuntimeError as error:
                self._fault = ModelError(f"inference failed: {first_line(error)}")
                self._fault.__cause__ = error
            self._images = None

    def result(self) -> F32:
        """As :class:`streammatte.protocols.Pending`. Raises ModelError where the inference failed."""
        self.settle()
        if self._alpha is None:
            raise self._fault or ModelError("inference gave nothing")
        return self._alpha

    def foreground(self) -> F32 | None:
        """As :class:`streammatte.protocols.Pending`. Raises ModelError where the inference failed."""
        self.result()
        return self._foreground


class OpenVINOEngine:
    """Runs a network with OpenVINO, compiled for one static shape.

    Parameters
    ----------
    files : ModelFiles
    device, precision, size, batch, threads, throughput
        As :func:`streammatte.engines.open_engine`.

    Raises
    ------
    ConfigError
        The precision or the device is not available.
    ModelError
        The graph cannot be read or compiled.
    """

    name = "openvino"

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
        core = ov.Core()
        self.device = _device(core, device)
        self.input_size = size
        plan = choose(precision, core.get_property(self.device, "OPTIMIZATION_CAPABILITIES"), files)
        self.precision = plan.precision
        model = read_static(files, plan.graph, (batch, *size, 3))
        self._states = [min(port.names) for port in model.inputs if is_state(port)]
        self.recurrent = bool(self._states)
        if self.recurrent and batch > 1:  # images one by one, in order
            static(model, (1, *size, 3))
            batch = 1
        throughput = throughput and not self.recurrent
        self.batch = batch
        settings = {"INFERENCE_PRECISION_HINT": plan.float_type, **_settings(self.device, threads, throughput)}
        compiled = compile_cached(core, model, self.device, settings)
        self.precision_reason = plan.reason + _instructions(compiled)
        self.needs_trimap = needs_trimap(compiled)
        self._coloured = any("foreground" in port.names for port in compiled.outputs)
        log.info("openvino on %s runs %s in %s: %s", self.device, files.name, plan.precision, self.precision_reason)
        streams = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self.in_flight = streams + QUEUED if throughput else 1
        self._free = deque(compiled.create_infer_request() for _ in range(self.in_flight))
        self._flying: deque[_Submission] = deque()
        self._fresh = True
        self._closed = False

    def submit(self, images: U8, trimaps: U8 | None = None) -> _Submission:
        """Start on images (N, H, W, 3) uint8 RGB, C-contiguous, N up to ``batch``.

        ``trimaps`` (N, H, W) uint8 in {0, 128, 255} for a network that needs one.
        Waits for the oldest submission where ``in_flight`` are under way already. The memory is read, not copied: leave
        it alone until the result is there.
        """
        if self._closed:
            raise ConfigError("the engine was closed; open another")
        check_inputs(images, trimaps, size=self.input_size, batch=self.batch, needs_trimap=self.needs_trimap)
        count = len(images)
        named = {"image": images} if trimaps is None else {"image": images, TRIMAP: trimaps[..., None]}
        inputs = {name: self._padded(values) for name, values in named.items()}
        request = self._request()
        try:
            for name, values in inputs.items():
                request.set_tensor(name, ov.Tensor(values, shared_memory=True))
            for name in self._states:
                self._carry(request, name)
            self._fresh = False
            request.start_async()
        except RuntimeError as error:
            self._free.append(request)
            raise ModelError(f"inference cannot start: {first_line(error)}") from error
        submission = _Submission(request, tuple(inputs.values()), count, coloured=self._coloured)
        self._flying.append(submission)
        return submission

    def reset(self) -> None:
        """Forget the stream: a recurrent network begins with the next image."""
        self._fresh = True

    def _carry(self, request: Any, name: str) -> None:
        """Give a state its next value: what the last image made of it, or nothing."""
        before = request.get_tensor(name).data
        after = request.get_tensor(name + NEXT).data
        request.set_tensor(name, ov.Tensor(np.zeros_like(before) if self._fresh else after.copy()))

    def close(self) -> None:
        """Wait for what is under way and release the device. Safe to call twice."""
        self._closed = True
        while self._flying:
            self._flying.popleft().settle()
        self._free.clear()

    def _request(self) -> Any:
        """A free request: a fresh one, or that of the oldest submission once it has settled."""
        if self._free:
            return self._free.popleft()
        oldest = self._flying.popleft()
        oldest.settle()
        return oldest.request

    def _padded(self, values: U8) -> U8:
        """A whole batch, C-contiguous; the very memory where it is one."""
        if len(values) == self.batch:
            return np.ascontiguousarray(values)
        padded = np.zeros((self.batch, *values.shape[1:]), np.uint8)
        padded[: len(values)] = values
        return padded


def _instructions(compiled: Any) -> str:
    """The instruction set of most kernels, as the CPU plugin names them; empty where they are not."""
    kernels = [
        str(node.get_rt_info()["primitiveType"].astype(str))
        for node in compiled.get_runtime_model().get_ops()
        if "primitiveType" in node.get_rt_info()
    ]
    found = Counter(match[0] for name in kernels if (match := _ISA.search(name)))
    return f"; kernels for {found.most_common(1)[0][0].replace('_', ' ')}" if found else ""


def _device(core: Any, name: str) -> str:
    """OpenVINO's name of a device: ``cpu`` is CPU, ``gpu:0`` GPU.0."""
    wanted = "CPU" if name == "auto" else name.upper().replace(":", ".")
    available = core.available_devices
    if wanted not in available and f"{wanted}.0" not in available:
        raise ConfigError(f"openvino has no device {name!r} here; it has {', '.join(available).lower()}")
    return wanted


def _settings(device: str, threads: int, throughput: bool) -> dict[str, Any]:
    """Streams and threads: as many streams as threads for throughput, one stream on all of them for latency."""
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "THROUGHPUT" if throughput else "LATENCY"}
    if device == "CPU":
        count = threads or available_cores()
        # without pinning: decoding, compositing and encoding share the cores
        settings |= {"NUM_STREAMS": count if throughput else 1, "INFERENCE_NUM_THREADS": count}
        settings["ENABLE_CPU_PINNING"] = False
    return settings
