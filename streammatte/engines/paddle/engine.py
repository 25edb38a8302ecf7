"""Paddle Inference: the engine of NVIDIA GPUs, and the reference on the CPU."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from streammatte.engines.inputs import check_inputs
from streammatte.engines.paddle.config import check_device, make_config
from streammatte.engines.worker import QUEUED, Submission, Worker
from streammatte.errors import ConfigError, ModelError, ModelNotFoundError, StreammatteError
from streammatte.frames import F32, U8
from streammatte.models.files import ModelFiles
from streammatte.models.graph import TRIMAP
from streammatte.models.input_rule import InputRule
from streammatte.optional_imports import import_paddle, message
from streammatte.runtime import available_cores

__all__ = ["PaddleEngine", "paddle_calls"]

log = logging.getLogger(__name__)


class PaddleEngine:
    """Runs an exported Paddle model with Paddle Inference.

    Parameters
    ----------
    files : ModelFiles
        With ``program`` (``.pdmodel`` or ``.json``) and ``params`` (``.pdiparams``).
    device, precision, size, batch, threads, throughput
        As :func:`streammatte.engines.open_engine`; ``cpu`` or ``gpu:N``, ``f32`` or (GPU) ``f16``.
    trt : bool
        TensorRT on the GPU, in float16 unless ``precision`` is another.

    Raises
    ------
    ConfigError
        The device, the precision or TensorRT is not available.
    ModelNotFoundError, ModelError
        The files are missing, damaged, or do not run.
    EngineUnavailableError
        Paddle is not installed, or without CUDA where a GPU is wanted.
    """

    name = "paddle"
    recurrent = False

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
        program, params = _files(files, paddle.__version__)
        gpu = check_device(device, trt, program)
        self.device = "cpu" if gpu is None else f"gpu:{gpu}"
        self.precision = _precision(precision, gpu is not None, trt)
        self.precision_reason = "as chosen" if precision != "auto" else "Paddle's default"
        self.input_size, self.batch = size, batch
        self.in_flight = 1 + QUEUED if throughput else 1
        if gpu is None:
            log.warning("Paddle runs on the CPU with its plain kernels; --engine openvino is several times faster")
        with paddle_calls(
            f"{program} cannot be read as a Paddle model", "give another model, or export or fetch it again"
        ):
            from paddle import inference

            config = make_config(program, params, gpu, self.precision, threads or available_cores(), batch, trt)
            self._predictor: Any = inference.create_predictor(config)
            names = self._predictor.get_input_names()
        images = [name for name in names if name != TRIMAP]
        if len(images) != 1:
            raise ModelError(
                f"{program} has the inputs {', '.join(names) or 'none'}; a matting network has one image and may have "
                f"{TRIMAP!r}; give another model"
            )
        self.needs_trimap = TRIMAP in names
        self._image_name = images[0]
        self._planes = np.empty((batch, 3, *size), np.float32)
        self._scale, self._shift = _normalisation(files.rule)
        self._worker = Worker(self._run, self.in_flight, "streammatte-paddle")
        self._warm_up((batch, 1) if trt else (1,))
        log.info("paddle on %s runs %s in %s%s", self.device, files.name, self.precision, " with TensorRT" * trt)

    def submit(self, images: U8, trimaps: U8 | None = None) -> Submission:
        """Start on images (N, H, W, 3) uint8 RGB, N up to ``batch``.

        The memory is read, not copied: leave it alone until the result is there.
        ``trimaps`` (N, H, W) uint8 in {0, 128, 255} for a network that needs one. Waits where ``in_flight`` submissions
        are under way already.
        """
        check_inputs(images, trimaps, size=self.input_size, batch=self.batch, needs_trimap=self.needs_trimap)
        return self._worker.submit(images, trimaps)

    def reset(self) -> None:
        """No state is kept between images."""

    def close(self) -> None:
        """Wait for what is under way and release the device. Safe to call twice."""
        self._worker.close()
        self._predictor = None

    def _warm_up(self, counts: tuple[int, ...]) -> None:
        """Run batches of these sizes, so that the first frames do not wait: TensorRT builds its engines now."""
        try:
            for count in counts:
                images = np.zeros((count, *self.input_size, 3), np.uint8)
                trimaps = np.full(images.shape[:3], 128, np.uint8) if self.needs_trimap else None
                self.submit(images, trimaps).result()
        except BaseException:
            self.close()
            raise

    def _run(self, images: U8, trimaps: U8 | None) -> tuple[F32, None]:
        """Normalise, run, copy out: alpha (N, h, w), no foreground. Raises ModelError."""
        planes = self._planes[: len(images)]
        np.multiply(images.transpose(0, 3, 1, 2), self._scale, out=planes)
        np.subtract(planes, self._shift, out=planes)
        with paddle_calls("inference failed"):
            self._predictor.get_input_handle(self._image_name).copy_from_cpu(planes)
            if trimaps is not None:
                self._predictor.get_input_handle(TRIMAP).copy_from_cpu(trimaps[:, None].astype(np.float32))
            self._predictor.run()
            output = self._predictor.get_output_handle(self._predictor.get_output_names()[0])
            alpha = np.asarray(output.copy_to_cpu(), np.float32)
        if alpha.ndim == 4 and alpha.shape[1] == 1:
            alpha = alpha[:, 0]
        if alpha.ndim != 3 or len(alpha) != len(images):
            raise ModelError(f"the network gives {alpha.shape}, no alpha of one channel; it is no matting network")
        return alpha, None


@contextmanager
def paddle_calls(failure: str, advice: str = "") -> Iterator[None]:
    """Turn what Paddle raises inside into a ModelError that begins with ``failure`` and ends with ``advice``.

    Its kinds of error reach Python as ValueError, IndexError, TypeError, NotImplementedError, MemoryError, SystemError,
    OSError, RuntimeError and its own EnforceNotMet, an Exception: so all are caught.

    Raises
    ------
    ModelError
    """
    try:
        yield
    except StreammatteError:
        raise
    except Exception as error:
        short = isinstance(error, MemoryError) or any(
            text in f"{type(error).__name__} {error}"
            for text in ("OutOfMemory", "ResourceExhausted", "could not create a memory")
        )
        step = "take a smaller --batch or --size" if short else advice
        raise ModelError(f"{failure}: {message(error)}{'; ' if step else ''}{step}") from error


def _files(files: ModelFiles, version: str) -> tuple[Path, Path]:
    if files.program is None or files.params is None:
        raise ModelError(
            f"{files.name} is here in no form that Paddle Inference reads; run: "
            f"streammatte models export {files.name} --to paddle, or take --engine openvino"
        )
    for path in (files.program, files.params):
        if not path.is_file():
            raise ModelNotFoundError(f"no file at {path}; fetch or export the model again")
    if files.program.suffix == ".json" and version.startswith("2."):
        raise ModelError(f"{files.program} is a program of Paddle 3 and this is {version}; export it from its weights")
    with files.program.open("rb") as file:
        # what is no protocol buffer at all ends the process in Paddle 3.3.1
        if files.program.suffix == ".pdmodel" and file.read(1) != b"\n":
            raise ModelError(f"{files.program} cannot be read as a Paddle model; fetch or export it again")
    return files.program, files.params


def _precision(precision: str, gpu: bool, trt: bool) -> str:
    possible = ("f16", "f32") if gpu else ("f32",)
    if precision == "auto":
        return "f16" if trt else "f32"
    if precision not in possible:
        where = "the GPU" if gpu else "the CPU"
        raise ConfigError(f"the paddle engine runs {' or '.join(possible)} on {where}; got --precision {precision}")
    return precision


def _normalisation(rule: InputRule) -> tuple[F32, F32]:
    """Scale and shift (1, 3, 1, 1) that make the network's input of uint8 RGB."""
    mean, std = np.asarray(rule.mean, np.float32), np.asarray(rule.std, np.float32)
    return (1.0 / (255.0 * std)).reshape(1, 3, 1, 1), (mean / std).reshape(1, 3, 1, 1)
