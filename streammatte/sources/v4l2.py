"""What a Linux camera can deliver, as the kernel reports it (Video4Linux2, linux/videodev2.h)."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Mode", "capabilities", "modes"]

# Struct layouts as linux/videodev2.h has them: 4-byte aligned, the same on 32 and 64 bit.
_CAPABILITY = struct.Struct("16s32s32sIII3I")
_FMTDESC = struct.Struct("III32sII3I")
_FRMSIZE = struct.Struct("III6I2I")
_FRMIVAL = struct.Struct("IIIII6I2I")

_READ, _READ_WRITE = 2, 3
_VIDEO_CAPTURE = 1
_DISCRETE = 1
_DEVICE_CAPS = 0x8000_0000
CAP_CAPTURE = 0x0000_0001
"""The node gives images."""
CAP_OUTPUT = 0x0000_0002
"""The node takes images: a loopback that a virtual camera writes to."""
_MOST = 64
"""More formats, sizes or rates than this no camera has; a broken driver may never say 'no more'."""


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
    with _opened(path) as handle:
        driver, card, _bus, _version, caps, device, *_ = _ask(handle, _READ, 0, _CAPABILITY, ())
    return _text(driver), _text(card), device if caps & _DEVICE_CAPS else caps


def modes(path: str | Path) -> list[Mode]:
    """All formats and sizes of a device. Raises OSError where it is none or may not be opened."""
    found = []
    with _opened(path) as handle:
        for pixel, name in _formats(handle):
            for width, height in _sizes(handle, pixel):
                found.append(Mode(name, width, height, tuple(_rates(handle, pixel, width, height))))
    return found


class _opened:  # noqa: N801 used as a function
    def __init__(self, path: str | Path) -> None:
        self._path = str(path)

    def __enter__(self) -> int:
        self._handle = os.open(self._path, os.O_RDWR | getattr(os, "O_NONBLOCK", 0))
        return self._handle

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)


def _ask(handle: int, direction: int, number: int, shape: struct.Struct, values: tuple[int, ...]) -> tuple[int, ...]:
    """One ioctl of type 'V'; ``values`` fill the struct's first integers."""
    if sys.platform == "win32":
        raise OSError("there is no Video4Linux2 on Windows")
    import fcntl

    buffer = bytearray(shape.size)
    struct.pack_into(f"{len(values)}I", buffer, 0, *values)
    request = direction << 30 | shape.size << 16 | ord("V") << 8 | number
    fcntl.ioctl(handle, request, buffer, True)
    return shape.unpack(buffer)


def _formats(handle: int) -> Iterator[tuple[int, str]]:
    for index in range(_MOST):
        try:
            fields = _ask(handle, _READ_WRITE, 2, _FMTDESC, (index, _VIDEO_CAPTURE))
        except OSError:
            return
        pixel = fields[4]
        yield pixel, pixel.to_bytes(4, "little").decode("ascii", "replace").strip()


def _sizes(handle: int, pixel: int) -> Iterator[tuple[int, int]]:
    for index in range(_MOST):
        try:
            fields = _ask(handle, _READ_WRITE, 74, _FRMSIZE, (index, pixel))
        except OSError:
            return
        if fields[2] != _DISCRETE:
            yield fields[4], fields[7]  # stepwise: the largest
            return
        yield fields[3], fields[4]


def _rates(handle: int, pixel: int, width: int, height: int) -> Iterator[float]:
    for index in range(_MOST):
        try:
            fields = _ask(handle, _READ_WRITE, 75, _FRMIVAL, (index, pixel, width, height))
        except OSError:
            return
        above, below = fields[5], fields[6]
        if above:
            yield round(below / above, 2)
        if fields[4] != _DISCRETE:
            return


def _text(raw: object) -> str:
    return bytes(raw).split(b"\0")[0].decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
