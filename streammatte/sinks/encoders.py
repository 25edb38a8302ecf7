"""Which encoder to take, and what it is fed."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import av.codec
import av.error
from av.codec.hwaccel import HWAccel

from streammatte.errors import UnsupportedOutputError
from streammatte.frames import Layout
from streammatte.media.capabilities import has_encoder
from streammatte.sinks.containers import Container, containers_with_alpha
from streammatte.sinks.encoder_options import EncodeOptions, options_for

__all__ = ["EncoderChoice", "choose_encoder", "encoder_options", "pixel_format"]

_log = logging.getLogger(__name__)

_EVEN_SIDES = {"h264", "hevc"}
"""Codecs whose 4:2:0 images must have even sides."""

_CARRIES_ASPECT = {"h264", "hevc"}
"""Codecs whose own stream holds the pixel's aspect ratio."""

_LOSSLESS = {"ffv1"}
"""Encoders that keep every pixel: their images are never scaled for the sake of a shape."""


@dataclass(frozen=True, slots=True)
class EncoderChoice:
    """An encoder with its settings.

    Parameters
    ----------
    name : str
        FFmpeg's name of the encoder.
    pix_fmt : str
        What it is fed.
    options : dict
        Its private options.
    bit_rate : int
        Bits a second; 0 for constant quality.
    even : bool
        True where both sides of the image must be even.
    carries_aspect : bool
        True where the encoded stream itself holds the pixel's aspect ratio.
    lossless : bool
        True where every pixel is kept.
    """

    name: str
    pix_fmt: str
    options: dict[str, str] = field(default_factory=dict)
    bit_rate: int = 0
    even: bool = False
    carries_aspect: bool = False
    lossless: bool = False


_ON_DEVICE = {
    "cuda": ("_nvenc",),
    "qsv": ("_qsv",),
    "vaapi": ("_vaapi",),
    "videotoolbox": ("_videotoolbox",),
    "d3d11va": ("_mf", "_amf", "_qsv", "_nvenc"),
    "auto": ("_nvenc", "_qsv", "_videotoolbox", "_amf", "_mf", "_vaapi"),
}
"""``--hwaccel`` -> how FFmpeg's encoders on that device end, the preferred first."""


def choose_encoder(
    container: Container,
    codec: str,
    alpha: bool,
    target: str,
    layout: Layout = Layout.YUV420,
    hwaccel: str = "off",
) -> str:
    """The encoder for a container; ``auto`` takes the first usable one, a name is taken as it is or refused.

    With ``auto`` and a device as ``hwaccel`` an encoder of that device is taken where one starts here; else a warning
    names the one in software. An alpha channel and mattes are encoded in software.

    Parameters
    ----------
    container : Container
    codec : str
        A name, or ``auto``.
    alpha : bool
        An alpha channel has to be kept.
    target : str
        The output's name, for errors.
    layout : Layout
        Of the frames.
    hwaccel : str
        As ``--hwaccel``.

    Raises
    ------
    UnsupportedOutputError
        The build lacks it, the container does not take it, or it cannot keep the requested alpha channel.
    """
    if codec == "auto":
        plain = not alpha and layout is not Layout.GRAY
        found = _on_device(container, hwaccel) if hwaccel != "off" and plain else None
        if found is not None:
            _log.info("%s is encoded by %s", target, found)
            return found
        candidates = container.alpha if alpha else container.video
        if layout is Layout.GRAY and not alpha:
            candidates = (*container.matte, *candidates)
        for name in candidates:
            if has_encoder(name):
                if hwaccel != "off" and plain:
                    level = logging.INFO if hwaccel == "auto" else logging.WARNING
                    _log.log(level, "--hwaccel %s: no such encoder starts here; %s encodes %s", hwaccel, name, target)
                if name != candidates[0]:
                    _log.warning("%s is missing here: %s is encoded by %s", candidates[0], target, name)
                return name
        if alpha and not container.alpha:
            raise _no_alpha(target)
        raise UnsupportedOutputError(f"{target}: this build of FFmpeg has none of {', '.join(candidates)}")
    if codec not in container.encoders or not has_encoder(codec):
        usable = ", ".join(name for name in container.encoders if has_encoder(name))
        raise UnsupportedOutputError(f"{target}: no encoder {codec!r} for this container here; usable: auto, {usable}")
    if alpha and codec not in container.alpha:
        raise _no_alpha(f"{target} by {codec}")
    return codec


def _on_device(container: Container, hwaccel: str) -> str | None:
    """The first encoder of the container's on a device, of those that start here."""
    for suffix in _ON_DEVICE[hwaccel]:
        for name in container.encoders:
            if name.endswith(suffix) and has_encoder(name) and _starts(name):
                return name
    return None


def _starts(name: str) -> bool:
    """True where an encoder can be opened: a build has encoders whose device or driver is missing."""
    try:
        how = HWAccel("vaapi") if name.endswith("_vaapi") else None
        context: Any = av.codec.CodecContext.create(name, "w", hwaccel=how)
        context.width, context.height, context.time_base = 640, 360, Fraction(1, 30)
        context.pix_fmt = pixel_format(name, Layout.YUV420, False)
        context.open()
    except (av.error.FFmpegError, ValueError, NotImplementedError, RuntimeError) as error:
        _log.debug("%s does not start: %s", name, error)
        return False
    return True


def _no_alpha(what: str) -> UnsupportedOutputError:
    return UnsupportedOutputError(
        f"{what} cannot hold an alpha channel; these can: {', '.join(containers_with_alpha())}"
    )


def pixel_format(encoder: str, layout: Layout, alpha: bool) -> str:
    """What an encoder is fed for frames of a layout: their own planes wherever players can show the result.

    Parameters
    ----------
    encoder : str
        FFmpeg's name.
    layout : Layout
        Of the frames.
    alpha : bool
        An alpha channel has to be kept.
    """
    if encoder == "prores_ks":
        if alpha:
            return "yuva444p10le"
        return "yuv444p10le" if layout in (Layout.YUV444, Layout.RGB) else "yuv422p10le"
    if encoder in ("qtrle", "png"):
        if layout is Layout.GRAY:
            return "gray"
        return {("qtrle", True): "argb", ("png", True): "rgba"}.get((encoder, alpha), "rgb24")
    if encoder == "ffv1":
        if layout is Layout.RGB:
            return "bgra" if alpha else "bgr0"
        return str(layout.value.replace("yuv", "yuva") if alpha and layout.is_yuv else layout.value)
    if alpha:
        return "yuva420p"
    if encoder.endswith(("_qsv", "_vaapi")):
        return "nv12"
    return "yuv420p"


def encoder_options(encoder: str, layout: Layout, options: EncodeOptions, alpha: bool = False) -> EncoderChoice:
    """An encoder with its settings.

    Parameters
    ----------
    encoder : str
        One that :func:`choose_encoder` gave.
    layout : Layout
        Of the frames.
    options : EncodeOptions
    alpha : bool
        The frames carry an alpha channel.

    Raises
    ------
    ConfigError
        A value that the encoder does not have.
    """
    pix_fmt = pixel_format(encoder, layout, alpha)
    kind = str(av.codec.Codec(encoder, "w").canonical_name)
    return EncoderChoice(
        encoder,
        pix_fmt,
        options_for(encoder, options, pix_fmt),
        options.bitrate or 0,
        even=kind in _EVEN_SIDES,
        carries_aspect=kind in _CARRIES_ASPECT,
        lossless=encoder in _LOSSLESS,
    )
