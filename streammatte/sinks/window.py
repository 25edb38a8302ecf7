"""A window on the screen."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable

import cv2

from streammatte.errors import SinkError
from streammatte.frames import Frame, StreamInfo
from streammatte.media.convert import PixelConverter
from streammatte.protocols import LiveSinkBase
from streammatte.runtime import native_lines

__all__ = ["PreviewSink"]

_log = logging.getLogger(__name__)

_TITLE = "streammatte"
_WAYS = (
    "install streammatte[preview] on a machine with a screen, or look at it in a browser: --preview-http 127.0.0.1:8090"
)


class PreviewSink(LiveSinkBase):
    """Shows frames in a window of OpenCV's. Only the main thread may drive it.

    Parameters
    ----------
    on_key : callable, optional
        Called with each key's character.
    on_closed : callable, optional
        Called when the window is closed.
    """

    main_thread = True

    def __init__(
        self, on_key: Callable[[str], object] | None = None, on_closed: Callable[[], object] | None = None
    ) -> None:
        self._on_key = on_key
        self._on_closed = on_closed
        self._pixels = PixelConverter("bgr24")
        self._open = False
        self._shown = False

    def open(self, info: StreamInfo) -> None:
        """Open the window. Raises SinkError where there is no display."""
        # Some builds of OpenCV end the whole process where no display answers, so this is tested first.
        if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise SinkError(f"no window can be shown: there is no display here (DISPLAY is not set); {_WAYS}")
        try:
            with native_lines(_log):
                cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
                cv2.resizeWindow(_TITLE, info.width, info.height)
        except cv2.error as error:
            raise SinkError(f"no window can be shown: this OpenCV is built without windows; {_WAYS}") from error
        self._open = True

    def process(self, item: Frame) -> list[None]:
        """Show a frame and report the keys that were pressed."""
        cv2.imshow(_TITLE, self._pixels.array(item))
        key = cv2.waitKey(1)
        if key >= 0 and self._on_key is not None:
            self._on_key(chr(key & 0xFF))
        visible = cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) >= 1
        if self._shown and not visible and self._on_closed is not None:
            self._on_closed()
        self._shown = visible
        return []

    def close(self) -> None:
        """Close the window."""
        if self._open:
            self._open = False
            cv2.destroyAllWindows()
