"""What a Linux video device can deliver, as the kernel reports it (Video4Linux2, through linuxpy).

linuxpy is imported where it is used: it exists for Linux only.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Mode", "capabilities", "capture_clients", "modes"]

CAP_CAPTURE = 0x0000_0001
"""The node gives images."""

_CLIENT_USAGE = 0x0800_0000 + 0x08E0_0000 + 1
"""v4l2loopback's own event (from 0.13): a program has started or stopped reading. Its data is the number of readers."""


@dataclass(frozen=True, slots=True)
class Mode:
    """One format and size of a camera, with its rates (frames a second, falling)."""

    format: str
    width: int
    height: int
    rates: tuple[float, ...]

    def __str__(self) -> str:
        rates = ", ".join(f"{rate:g}" for rate in self.rates)
        return f"{self.format} {self.width}x{self.height} {rates} fps"


def capabilities(path: str | Path) -> tuple[str, str, int]:
    """Driver, name and capability bits of a device. Raises OSError where it is none or may not be opened."""
    from linuxpy.video import device

    with _opened(path) as handle:
        found = device.read_capabilities(handle)
    own = found.capabilities & device.Capability.DEVICE_CAPS
    bits = found.device_caps if own else found.capabilities
    return found.driver.decode("utf-8", "replace"), found.card.decode("utf-8", "replace"), bits


def modes(path: str | Path) -> list[Mode]:
    """All formats and sizes of a device. Raises OSError where it is none or may not be opened."""
    from linuxpy.video import device, raw

    found = []
    with _opened(path) as handle:
        formats = raw.v4l2_fmtdesc(type=device.BufferType.VIDEO_CAPTURE)
        for described in device.iter_read(handle, raw.IOC.ENUM_FMT, formats):
            pixel = described.pixelformat
            name = pixel.to_bytes(4, "little").decode("ascii", "replace").strip()
            sizes = raw.v4l2_frmsizeenum(pixel_format=pixel)
            for size in device.iter_read(handle, raw.IOC.ENUM_FRAMESIZES, sizes):
                if size.type == device.FrameSizeType.DISCRETE:
                    width, height = size.m1.discrete.width, size.m1.discrete.height
                else:
                    width, height = size.m1.stepwise.max_width, size.m1.stepwise.max_height
                found.append(Mode(name, width, height, tuple(_rates(handle, pixel, width, height))))
                if size.type != device.FrameSizeType.DISCRETE:
                    break  # one description of all sizes; the largest stands for them
    return found


def capture_clients(path: str | Path) -> int | None:
    """How many programs take images from a v4l2loopback device now, those of other users too.

    Returns
    -------
    int or None
        None where the driver gives no count: another one, or v4l2loopback before 0.13.
    """
    from linuxpy.video import device

    try:
        # The driver sends the present number to a new subscriber at once, so that no change between two calls is
        # missed.
        with _opened(path) as handle:
            device.subscribe_event(handle, _CLIENT_USAGE, flags=device.EventSubscriptionFlag.SEND_INITIAL)
            event = device.deque_event(handle)
    except OSError:
        return None
    return int.from_bytes(bytes(event.u)[:4], "little") if event.type == _CLIENT_USAGE else None


@contextmanager
def _opened(path: str | Path) -> Iterator[int]:
    handle = os.open(path, os.O_RDWR | getattr(os, "O_NONBLOCK", 0))
    try:
        yield handle
    finally:
        os.close(handle)


def _rates(handle: int, pixel: int, width: int, height: int) -> Iterator[float]:
    from linuxpy.video import device, raw

    intervals = raw.v4l2_frmivalenum(pixel_format=pixel, width=width, height=height)
    for interval in device.iter_read(handle, raw.IOC.ENUM_FRAMEINTERVALS, intervals):
        discrete = interval.type == device.FrameIntervalType.DISCRETE
        seconds = interval.discrete if discrete else interval.stepwise.min
        if seconds.numerator:
            yield round(seconds.denominator / seconds.numerator, 2)
        if not discrete:
            return
