"""One predictor of Paddle Inference with the memory around it: pictures in, alpha out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from streammatte.engines.paddle.config import PaddleSettings, check_inputs, make_config
from streammatte.engines.paddle.errors import paddle_calls
from streammatte.errors import ModelError
from streammatte.models.graph import TRIMAP

__all__ = ["Lane", "open_lane"]

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]

POLL = 0.0005
"""Seconds between two looks at the GPU: a network takes several milliseconds there, a look some microseconds."""


class Lane:
    """A predictor and the memory for its input; one thread at a time may use it.

    Parameters
    ----------
    predictor : paddle.inference.Predictor
    stream : paddle.device.cuda.Stream, optional
        The one that the predictor runs on, where it is the caller's.
    shape : tuple of int
        Of the picture input, (batch, 3, height, width).
    mean, std : three floats
        Of RGB in [0, 1].
    """

    def __init__(
        self, predictor: Any, stream: Any, shape: tuple[int, ...], mean: Sequence[float], std: Sequence[float]
    ) -> None:
        names = predictor.get_input_names()
        # In the order in which they have to go, which is also Python's when a lane is dropped: a handle points into the
        # predictor, the predictor holds the stream's bare handle.
        self._image: Any = predictor.get_input_handle(next(name for name in names if name != TRIMAP))
        self._trimap: Any = predictor.get_input_handle(TRIMAP) if TRIMAP in names else None
        self._alpha: Any = predictor.get_output_handle(predictor.get_output_names()[0])
        self._predictor = predictor
        self._stream = stream
        self._planes = np.empty(shape, np.float32)
        self._scale = (1.0 / (255.0 * np.asarray(std, np.float32))).reshape(1, 3, 1, 1)
        self._shift = (np.asarray(mean, np.float32) / np.asarray(std, np.float32)).reshape(1, 3, 1, 1)
        self.needs_trimap = self._trimap is not None

    def run(self, images: U8, trimaps: U8 | None) -> F32:
        """Normalise, run, copy out: alpha (N, h, w).

        Raises
        ------
        ModelError
            The inference failed, or gives no alpha.
        """
        planes = self._planes[: len(images)]
        np.multiply(images.transpose(0, 3, 1, 2), self._scale, out=planes)
        np.subtract(planes, self._shift, out=planes)
        with paddle_calls("inference failed"):
            self._image.copy_from_cpu(planes)
            if trimaps is not None:
                self._trimap.copy_from_cpu(trimaps[:, None].astype(np.float32))
            self._predictor.run()
            self._await()
            alpha = np.asarray(self._alpha.copy_to_cpu(), np.float32)
        if alpha.ndim == 4 and alpha.shape[1] == 1:
            alpha = alpha[:, 0]
        if alpha.ndim != 3 or len(alpha) != len(images):
            raise ModelError(f"the network gives {alpha.shape}, no alpha of one channel; it is no matting network")
        return alpha

    def release(self) -> None:
        """Give the device's memory back: handles first, then the predictor, its stream last."""
        self._image = self._trimap = self._alpha = None
        self._predictor = None
        self._stream = None

    def _await(self) -> None:
        """Wait for the GPU without Python's lock, which ``copy_to_cpu`` would hold all the time that it waits."""
        while self._stream is not None and not self._stream.query():
            time.sleep(POLL)


def open_lane(settings: PaddleSettings, shape: tuple[int, ...], mean: Sequence[float], std: Sequence[float]) -> Lane:
    """Load a program.

    Raises
    ------
    ModelError
        It cannot be read, or is no matting network.
    """
    from paddle import inference

    predictor = None
    with paddle_calls(
        f"{settings.program} cannot be read as a Paddle model", "give another model, or export or fetch it again"
    ):
        config, stream = make_config(settings)
        try:
            predictor = inference.create_predictor(config)
            check_inputs(predictor.get_input_names(), settings.program)
            return Lane(predictor, stream, shape, mean, std)
        except BaseException:
            predictor = None  # before the stream, which the error's traceback keeps with this frame
            raise
