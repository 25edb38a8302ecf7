"""Paddle Inference: the engine of the GPU, and the reference on the CPU."""

from __future__ import annotations

import logging
import queue
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streammatte.engines.openvino import check_trimaps
from streammatte.engines.paddle.config import PaddleSettings, check_trt, gpu_index
from streammatte.engines.paddle.onednn_probe import choose_kernels
from streammatte.engines.paddle.predictor import open_lane
from streammatte.engines.paddle.tensorrt import building, prepare
from streammatte.errors import ConfigError, EngineUnavailableError, ModelError, ModelNotFoundError
from streammatte.models.files import ModelFiles
from streammatte.optional_imports import import_paddle
from streammatte.runtime import available_cores

__all__ = ["PaddleEngine"]

log = logging.getLogger(__name__)

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]

QUEUED = 1
"""Submissions beyond the number of predictors, so that one finds its next pictures waiting."""


class _Submission:
    """A batch under way."""

    def __init__(self, future: Future[F32]) -> None:
        self._future = future

    def result(self) -> F32:
        """As :class:`streammatte.protocols.Pending`. Raises ModelError where the inference failed."""
        return self._future.result()


class PaddleEngine:
    """Runs an exported Paddle model with Paddle Inference.

    Parameters
    ----------
    files : ModelFiles
        With ``program`` (``.pdmodel`` or ``.json``) and ``params`` (``.pdiparams``).
    device, precision, size, batch, threads, throughput
        As :func:`streammatte.engines.open_engine`; ``cpu`` or ``gpu:N``, ``f32`` or (GPU) ``f16``.
    trt : bool
        TensorRT on the GPU, in float16 unless ``precision`` says otherwise. The first start builds its engines, which
        takes minutes; later ones read them from the user's cache.

    Raises
    ------
    ConfigError
        The device, the precision or TensorRT is not to be had.
    ModelNotFoundError, ModelError
        The files are missing, damaged, or do not run.
    EngineUnavailableError
        Paddle is not installed, or without CUDA where a GPU is asked for.
    """

    name = "paddle"

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
        trt: bool = False,
    ) -> None:
        paddle = import_paddle("the paddle engine")
        major = int(paddle.__version__.split(".")[0])
        program, params = _files(files)
        if program.suffix == ".json" and major < 3:
            raise ModelError(
                f"{program} is a program of Paddle 3 and this is {paddle.__version__}; export it from its weights here"
            )
        device = _device(device, trt, paddle)
        index = gpu_index(device)
        self.device = "cpu" if index is None else f"gpu:{index}"
        if trt:
            check_trt(device)
        _check_gpu(paddle, index)
        self.precision = _precision(precision, index is not None, trt)
        self.input_size, self.batch = size, batch
        self.in_flight = 1 + QUEUED if throughput else 1
        settings = PaddleSettings(
            program=program,
            params=params,
            device=self.device,
            precision=self.precision,
            threads=threads or available_cores(),
            trt=trt,
            batch=batch,
            major=major,
        )
        if index is None:
            settings = replace(settings, onednn=choose_kernels(settings, size, paddle.__version__))
        elif trt:
            settings = prepare(settings, size)
        self.kernels = "tensorrt" if trt else "cuda" if index is not None else "onednn" if settings.onednn else "plain"
        with building(settings):
            self._lane = open_lane(settings, (batch, 3, *size), files.mean, files.std)
            self.needs_trimap = self._lane.needs_trimap
            self._worker: ThreadPoolExecutor | None = ThreadPoolExecutor(1, "streammatte-paddle")
            self._slots: queue.Queue[None] = queue.Queue(self.in_flight)
            self._warm_up()
        log.info("paddle on %s runs %s in %s with %s kernels", self.device, files.name, self.precision, self.kernels)

    def submit(self, images: U8, trimaps: U8 | None = None) -> _Submission:
        """Start on images (N, H, W, 3) uint8 RGB, N up to ``batch``.

        The memory is read, not copied: leave it alone until the result is there.
        ``trimaps`` (N, H, W) uint8 in {0, 128, 255} for a network that needs one. Waits where ``in_flight`` submissions
        are under way already.
        """
        self._check(images, trimaps)
        if self._worker is None:
            raise ConfigError("the engine was closed; open another")
        self._slots.put(None)
        try:
            return _Submission(self._worker.submit(self._run, images, trimaps))
        except BaseException:
            self._slots.get()
            raise

    def close(self) -> None:
        """Wait for what is under way and release the device. Safe to call twice."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.shutdown(wait=True)
            self._lane.release()

    def _run(self, images: U8, trimaps: U8 | None) -> F32:
        try:
            return self._lane.run(images, trimaps)
        finally:
            self._slots.get()

    def _warm_up(self) -> None:
        """Run once; an engine that cannot is closed."""
        image = np.zeros((1, *self.input_size, 3), np.uint8)
        trimap = np.full((1, *self.input_size), 128, np.uint8) if self.needs_trimap else None
        try:
            self.submit(image, trimap).result()
        except BaseException:
            self.close()
            raise

    def _check(self, images: U8, trimaps: U8 | None) -> None:
        wanted = f"(1..{self.batch}, {self.input_size[0]}, {self.input_size[1]}, 3)"
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (*self.input_size, 3):
            raise ConfigError(f"images must be uint8 {wanted}; got {images.dtype} {images.shape}")
        if not 1 <= len(images) <= self.batch:
            raise ConfigError(f"images must be uint8 {wanted}; got {images.shape}: open the engine with a larger batch")
        check_trimaps(images, trimaps, self.needs_trimap)


def _files(files: ModelFiles) -> tuple[Path, Path]:
    if files.program is None or files.params is None:
        raise ModelError(
            f"{files.name} is here in no form that Paddle Inference reads; run: "
            f"streammatte models export {files.name} --to paddle, or take --engine openvino"
        )
    for path in (files.program, files.params):
        if not path.is_file():
            raise ModelNotFoundError(f"no file at {path}; fetch or export the model again")
    return files.program, files.params


def _device(device: str, trt: bool, paddle: Any) -> str:
    if device != "auto":
        return device
    here = paddle.device.is_compiled_with_cuda() and paddle.device.cuda.device_count()
    return "gpu:0" if here or trt else "cpu"  # TensorRT asks for a GPU, so what is said next is that there is none


def _check_gpu(paddle: Any, index: int | None) -> None:
    if index is None:
        return
    if not paddle.device.is_compiled_with_cuda():
        raise EngineUnavailableError(
            f"Paddle {paddle.__version__} is built for the CPU, no GPU can be used; install streammatte[gpu]"
        )
    count = paddle.device.cuda.device_count()
    if index >= count:
        raise ConfigError(
            f"there is no gpu:{index}; CUDA shows {count} (see nvidia-smi and CUDA_VISIBLE_DEVICES); "
            "give another number, or --device cpu"
        )


def _precision(precision: str, gpu: bool, trt: bool) -> str:
    possible = ("f16", "f32") if gpu else ("f32",)
    if precision == "auto":
        return "f16" if trt else "f32"
    if precision not in possible:
        where = "the GPU" if gpu else "the CPU"
        raise ConfigError(f"the paddle engine runs {' or '.join(possible)} on {where}; got --precision {precision}")
    return precision
