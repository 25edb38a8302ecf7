"""A camera for other programs, through pyvirtualcam (v4l2loopback, OBS, Unity Capture)."""

from __future__ import annotations

from typing import Any

from streammatte.errors import DeviceError, SinkError
from streammatte.frames import U8, Frame, StreamInfo
from streammatte.media.convert import PixelConverter
from streammatte.protocols import LiveSinkBase

__all__ = ["VirtualCameraSink"]

_DEFAULT_RATE = 30.0
"""Frames a second that are reported to other programs where the source has none."""

_NATIVE = {"I420": "yuv420p", "NV12": "nv12"}
"""Formats of backends that are sent as they are: 1.5 bytes a pixel and no second conversion in the backend."""


class VirtualCameraSink(LiveSinkBase):
    """Shows frames as a camera.

    Parameters
    ----------
    device : str, optional
        The backend's name of the device, as /dev/video10; None takes the first free one.
    """

    def __init__(self, device: str | None = None) -> None:
        self._device = device
        self._camera: Any = None
        self._pixels = PixelConverter("rgb24")
        self._shown: tuple[tuple[U8, ...], U8] | None = None
        self.name = device or "virtual camera"

    def open(self, info: StreamInfo) -> None:
        """Open the device. Raises DeviceError, whose message has the repair."""
        try:
            import pyvirtualcam
        except ImportError as error:
            raise DeviceError(
                "the virtual camera needs pyvirtualcam: pip install 'streammatte[virtualcam]'; "
                "or show the image by --preview, --preview-http or --record"
            ) from error
        formats = pyvirtualcam.PixelFormat
        rate = float(info.rate or _DEFAULT_RATE)

        def opened(kind: Any) -> Any:
            try:
                return pyvirtualcam.Camera(info.width, info.height, rate, fmt=kind, device=self._device)
            except (RuntimeError, ValueError, OSError) as error:
                reasons = " ".join(str(error).split())
                raise DeviceError(
                    f"no virtual camera can be opened ({reasons}); `streammatte doctor` shows how to set one up"
                ) from error

        camera = opened(formats.RGB)
        native = camera.native_fmt
        if native is not None and native.name in _NATIVE and info.width % 2 == info.height % 2 == 0:
            camera.close()
            camera = opened(native)
            self._pixels = PixelConverter(_NATIVE[native.name])
        self._camera = camera
        self.name = camera.device

    def process(self, item: Frame) -> list[None]:
        """Show a frame."""
        if self._camera is None:
            raise SinkError("the virtual camera is not open")
        if self._shown is None or self._shown[0] is not item.planes:  # an image that stands still is converted once
            self._shown = (item.planes, self._pixels.array(item))
        self._camera.send(self._shown[1])
        return []

    def close(self) -> None:
        """Release the device."""
        camera, self._camera = self._camera, None
        if camera is not None:
            camera.close()
