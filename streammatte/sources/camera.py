"""Cameras through PyAV, with OpenCV where that fails."""

from __future__ import annotations

import errno
import logging
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import av.error

from streammatte.errors import DeviceError, StreammatteError
from streammatte.frames import Frame, StreamInfo
from streammatte.media.container import reason
from streammatte.runtime import native_lines
from streammatte.sources.devices import FRAMEWORKS, Camera, find_camera, in_use
from streammatte.sources.planes import PlaneConverter

__all__ = ["CameraSource", "negotiate", "open_camera"]

_log = logging.getLogger(__name__)

_MICRO = Fraction(1, 1_000_000)
CLOCK_SLACK = 5.0
"""Seconds by which a kernel's time of capture may lie in the past and still be taken for this machine's clock."""
STALE = 0.25
"""Seconds: images that waited longer in the driver's queue while the network was compiled are left out."""
MAX_DAMAGED = 30
"""Damaged images in a row (a loose USB plug) after which the camera counts as gone."""

_FORMATS: dict[str, tuple[dict[str, str], ...]] = {
    "v4l2": ({"input_format": "mjpeg"}, {"input_format": "nv12"}, {}),
    "avfoundation": ({"pixel_format": "nv12"}, {"pixel_format": "uyvy422"}, {}),
    "dshow": ({"vcodec": "mjpeg"}, {"pixel_format": "nv12"}, {}),
}
"""Formats in order of preference: over USB, MJPEG and NV12 reach full size and rate, YUYV only 5 or 10 fps."""


class CameraSource:
    """A live input of FFmpeg's.

    Parameters
    ----------
    container : av.container.InputContainer
        Opened.
    name : str
        For messages.
    rate : float
        The requested frames a second, where the device reports none.

    Raises
    ------
    DeviceError
        No image comes.
    """

    def __init__(self, container: Any, name: str, rate: float = 30.0) -> None:
        self._container = container
        self._name = name
        if not container.streams.video:
            container.close()
            raise DeviceError(f"{name} gives no images; choose another with --camera")
        self._video = container.streams.video[0]
        # One image in, one out: frame threads would add an image of delay each.
        self._video.codec_context.thread_type = "SLICE"
        self._images = self._decode()
        try:
            self._first = next(self._images, None)
        except BaseException:
            container.close()
            raise
        if self._first is None:
            container.close()
            raise DeviceError(f"{name} sends no image; another program may use it, or its plug is loose")
        image = self._first[0]
        self._converter = PlaneConverter(image, self._video.codec_context, name)
        got = self._video.average_rate or Fraction(rate).limit_denominator(1001)
        self.info = StreamInfo(
            width=self._converter.width,
            height=self._converter.height,
            layout=self._converter.layout,
            time_base=_MICRO,
            rate=Fraction(got),
            color=self._converter.color,
            name=name,
        )
        context = self._video.codec_context
        self.got = f"{context.name} {image.format.name} {self.info.width}x{self.info.height} {float(got):g} fps"

    def frames(self) -> Iterator[Frame]:
        """Frames as they are captured, until the device ends or fails. Raises DeviceError."""
        began = time.monotonic()
        index, origin, last = 0, None, -1
        held, self._first = self._first, None
        for image, captured in _chain(held, self._images):
            now = time.monotonic()
            if now - captured > STALE and now - began < 1.0:
                continue
            origin = captured if origin is None else origin
            last = max(last + 1, round((captured - origin) / _MICRO))
            planes, _ = self._converter.planes(image)
            yield Frame(
                planes,
                self._converter.layout,
                last,
                _MICRO,
                self._converter.color,
                index,
                captured=captured,
                owner=image,
            )
            index += 1

    def close(self) -> None:
        """Release the device."""
        self._container.close()

    def _decode(self) -> Iterator[tuple[Any, float]]:
        damaged = 0
        try:
            for packet in self._container.demux(self._video):
                arrived = time.monotonic()
                try:
                    images = packet.decode()
                except av.error.InvalidDataError:
                    damaged += 1
                    if damaged >= MAX_DAMAGED:
                        raise
                    continue
                damaged = 0
                for image in images:
                    yield image, _captured(image, arrived)
        except (av.error.FFmpegError, OSError) as error:
            raise DeviceError(f"{self._name} failed: {reason(error)}") from error


def _chain(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    if first is not None:
        yield first
    yield from rest


def _captured(image: Any, arrived: float) -> float:
    """The kernel's time of capture where the image carries it (v4l2: the monotonic clock), else its arrival."""
    if image.pts is None or image.time_base is None:
        return arrived
    stamp = float(image.pts * image.time_base)
    return stamp if 0 <= arrived - stamp < CLOCK_SLACK else arrived


def negotiate(framework: str, address: str, name: str, size: tuple[int, int] | None, rate: float | None) -> Any:
    """Open a device in the best format it has at the requested size and rate.

    Parameters
    ----------
    framework, address : str
        FFmpeg's names.
    size : (width, height), optional
        None takes the device's own.
    rate : float, optional
        Frames a second.

    Raises
    ------
    DeviceError
        It cannot be opened in any way; the message has the reason of each attempt.
    """
    wanted = {}
    if size is not None:
        wanted["video_size"] = f"{size[0]}x{size[1]}"
    if rate is not None:
        wanted["framerate"] = f"{rate:g}"
    attempts = [attempt_options | wanted for attempt_options in _FORMATS.get(framework, ({},))]
    attempts += [attempt for attempt in (*_FORMATS.get(framework, ()), {}) if attempt not in attempts]
    failures = []
    second_best: dict[str, str] | None = None
    for options in attempts:
        try:
            with native_lines(_log):
                container = av.open(address, format=framework, options=dict(options))
        except (av.error.FFmpegError, OSError, ValueError) as error:
            if getattr(error, "errno", None) == errno.EBUSY:  # no other format would help
                raise DeviceError(f"camera {name}: {in_use(address)}") from error
            failures.append(f"{_readable(options)}: {reason(error)}")
            continue
        video = next(iter(container.streams.video), None)
        if video is not None and (size is None or (video.width, video.height) == size):
            return container
        second_best = second_best if second_best is not None else options
        container.close()
    if second_best is not None:
        return av.open(address, format=framework, options=dict(second_best))
    raise DeviceError(f"cannot open camera {name} ({'; '.join(dict.fromkeys(failures))}); is another program using it?")


def _readable(options: dict[str, str]) -> str:
    return " ".join(options.values()) or "any format"


def open_camera(spec: str, *, width: int | None = None, height: int | None = None, rate: float | None = None) -> Any:
    """A camera by index, path or name.

    Parameters
    ----------
    width, height : int, optional
        Wanted size; one alone is ignored.
    rate : float, optional
        Wanted frames a second.

    Raises
    ------
    DeviceError
        There is no such camera, or it cannot be opened by PyAV nor by OpenCV.
    """
    camera = find_camera(spec)
    if camera.problem:
        raise DeviceError(f"camera {camera.name}: {camera.problem}")
    size = (width, height) if width and height else None
    framework = FRAMEWORKS.get(sys.platform, "")
    try:
        source = CameraSource(negotiate(framework, camera.address, camera.name, size, rate), camera.name, rate or 30.0)
    except StreammatteError as error:
        return _fall_back(camera, size, rate, error)
    _log.info("camera %s: %s", camera.name, source.got)
    if size is not None and (source.info.width, source.info.height) != size:
        _log.warning("camera %s has no %dx%d; it gives %s", camera.name, *size, source.got)
    return source


def _fall_back(camera: Camera, size: tuple[int, int] | None, rate: float | None, error: StreammatteError) -> Any:
    from streammatte.sources.camera_opencv import OpenCVCamera

    try:
        source = OpenCVCamera(camera, size, rate)
    except DeviceError:
        raise error from None
    _log.warning("PyAV cannot open camera %s (%s); OpenCV can and is used: %s", camera.name, error, source.got)
    return source
