"""Cameras through OpenCV: the fallback for drivers that FFmpeg cannot use."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from fractions import Fraction

import cv2
import numpy as np

from streammatte.errors import DeviceError
from streammatte.frames import ColorSpec, Frame, Layout, StreamInfo, plane_shapes
from streammatte.runtime import native_lines
from streammatte.sources.devices import Camera

__all__ = ["OpenCVCamera"]

_log = logging.getLogger(__name__)

_MICRO = Fraction(1, 1_000_000)
_BT601 = ColorSpec(matrix=6, primaries=6, transfer=6, full_range=False)
"""What COLOR_BGR2YUV_I420 makes."""


class OpenCVCamera:
    """A camera that OpenCV opens; frames are converted to YUV 4:2:0 here.

    Parameters
    ----------
    camera : Camera
    size : (width, height), optional
    rate : float, optional

    Raises
    ------
    DeviceError
        It cannot be opened, or no image comes.
    """

    def __init__(self, camera: Camera, size: tuple[int, int] | None = None, rate: float | None = None) -> None:
        with native_lines(_log):
            self._capture = cv2.VideoCapture(camera.address if camera.address.startswith("/") else camera.index)
        self._capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        if size is not None:
            self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
            self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
        if rate is not None:
            self._capture.set(cv2.CAP_PROP_FPS, rate)
        good, image = self._capture.read()
        if not good:
            self.close()
            raise DeviceError(f"OpenCV cannot read camera {camera.name}")
        height, width = (side - side % 2 for side in image.shape[:2])
        got = self._capture.get(cv2.CAP_PROP_FPS) or rate or 30.0
        self.info = StreamInfo(
            width, height, Layout.YUV420, _MICRO, Fraction(got).limit_denominator(1001), _BT601, name=camera.name
        )
        self.got = f"OpenCV {width}x{height} {got:g} fps"

    def frames(self) -> Iterator[Frame]:
        """Frames as they come. Raises DeviceError when the camera is gone."""
        info = self.info
        began: float | None = None
        index = 0
        while self._capture.isOpened():
            good, image = self._capture.read()
            captured = time.monotonic()
            if not good:
                raise DeviceError(f"camera {info.name} sends no more images")
            began = captured if began is None else began
            flat = cv2.cvtColor(image[: info.height, : info.width], cv2.COLOR_BGR2YUV_I420).reshape(-1)
            shapes = plane_shapes(info.layout, info.width, info.height)
            cuts = np.cumsum([rows * columns for rows, columns in shapes])[:-1]
            planes = tuple(part.reshape(shape) for part, shape in zip(np.split(flat, cuts), shapes, strict=True))
            pts = round((captured - began) / _MICRO)
            yield Frame(planes, info.layout, pts, _MICRO, info.color, index, captured=captured, owner=flat)
            index += 1

    def close(self) -> None:
        """Release the device."""
        self._capture.release()
