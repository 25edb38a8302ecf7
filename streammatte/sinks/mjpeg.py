"""Images for a browser. The sink keeps the newest one as JPEG; a server fetches it from here."""

from __future__ import annotations

import threading

import cv2

from streammatte.errors import SinkError
from streammatte.frames import Frame
from streammatte.media.convert import PixelConverter
from streammatte.protocols import LiveSinkBase

__all__ = ["HttpPreviewSink"]

QUALITY = 80
"""JPEG quality: no visible loss in a preview, 60 kB an image at 640x480."""


class HttpPreviewSink(LiveSinkBase):
    """Encodes frames only while a client waits for them. Any thread may ``wait_newer``."""

    def __init__(self) -> None:
        self._pixels = PixelConverter("bgr24")
        self._news = threading.Condition()
        self._image = b""
        self._number = 0
        self._waiting = 0
        self._closed = False

    def process(self, item: Frame) -> list[None]:
        """Encode a frame for the clients that wait."""
        if not self._waiting:
            return []
        good, data = cv2.imencode(".jpg", self._pixels.array(item), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        if not good:
            raise SinkError("the preview's image could not be encoded as JPEG")
        with self._news:
            self._image = data.tobytes()
            self._number += 1
            self._news.notify_all()
        return []

    def wait_newer(self, number: int, timeout: float) -> tuple[int, bytes]:
        """The next image after ``number`` as (its number, JPEG); ``(number, b"")`` where none came in time."""
        with self._news:
            self._waiting += 1
            try:
                newer = self._news.wait_for(lambda: self._number > number or self._closed, timeout)
            finally:
                self._waiting -= 1
            if not newer or self._closed:
                return number, b""
            return self._number, self._image

    @property
    def number(self) -> int:
        """Number of the newest image."""
        return self._number

    @property
    def closed(self) -> bool:
        """True once the session has ended."""
        return self._closed

    def close(self) -> None:
        """Wake the clients that wait."""
        with self._news:
            self._closed = True
            self._news.notify_all()
