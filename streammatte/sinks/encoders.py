"""Which encoder to take, and how quality, speed and bit rate are said to each."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import av
import av.codec
import av.error

from streammatte.errors import ConfigError, UnsupportedOutputError
from streammatte.frames import Layout
from streammatte.sinks.formats import Container, containers_with_alpha

__all__ = ["EncoderChoice", "choose_encoder", "encoder_options", "has_encoder", "pixel_format"]

_log = logging.getLogger(__name__)

X264_PRESETS = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
    "placebo",
)

_DEFAULT_CRF = {"libx264": 20, "libx265": 23, "libvpx-vp9": 31, "libvpx": 12, "libsvtav1": 32, "libaom-av1": 32}
"""Constant quality where nothing was asked, each on its encoder's own scale: about the same look as H.264 at 20."""

_CRF_LIMIT = {"libx264": 51, "libx265": 51}

# The named presets of x264 as steps of encoders that count them otherwise; index is the place in X264_PRESETS.
_VPX_CPU_USED = (8, 8, 7, 6, 5, 4, 3, 2, 1, 0)
_SVT_PRESET = (13, 12, 11, 10, 9, 8, 6, 5, 4, 2)
_NVENC_PRESET = ("p1", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p7", "p7")
_QSV_PRESET = ("veryfast",) * 3 + ("faster", "fast", "medium", "slow", "slower", "veryslow", "veryslow")

_EVEN_SIDES = {"h264", "hevc"}
"""Codecs whose 4:2:0 pictures must have even sides."""

_CARRIES_ASPECT = {"h264", "hevc"}
"""Codecs that say in their own stream how wide a pixel is."""

_LOSSLESS = {"ffv1"}
"""Encoders that keep every pixel: their pictures are never scaled for the sake of a shape."""


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
        True where both sides of the picture must be even.
    carries_aspect : bool
        True where the encoded pictures themselves say how wide a pixel is.
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


def has_encoder(name: str) -> bool:
    """True where this build of FFmpeg has the video encoder."""
    try:
        return bool(av.codec.Codec(name, "w").type == "video")
    except (av.codec.codec.UnknownCodecError, av.error.FFmpegError):
        return False


def choose_encoder(container: Container, codec: str, alpha: bool, target: str, layout: Layout = Layout.YUV420) -> str:
    """The encoder for a container; ``auto`` takes the first usable one, a name is taken as it is or refused.

    Raises
    ------
    UnsupportedOutputError
        The build lacks it, the container does not take it, or it cannot keep the alpha channel that was asked for.
    """
    if codec == "auto":
        candidates = container.alpha if alpha else container.video
        if layout is Layout.GRAY and not alpha:
            candidates = (*container.matte, *candidates)
        for name in candidates:
            if has_encoder(name):
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


def _no_alpha(what: str) -> UnsupportedOutputError:
    return UnsupportedOutputError(
        f"{what} cannot hold an alpha channel; these can: {', '.join(containers_with_alpha())}"
    )


def pixel_format(encoder: str, layout: Layout, alpha: bool) -> str:
    """What an encoder is fed for frames of a layout: their own planes wherever players can show the result."""
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


def encoder_options(
    encoder: str, layout: Layout, alpha: bool, crf: float | None, preset: str | None, bitrate: int | None
) -> EncoderChoice:
    """Settings of an encoder.

    Parameters
    ----------
    encoder : str
        One that :func:`choose_encoder` gave.
    layout : Layout
        Of the frames.
    alpha : bool
        They carry an alpha channel.
    crf : float, optional
        Constant quality on the encoder's own scale; None is its default here.
    preset : str, optional
        x264's names are understood for every encoder that has a speed; an encoder's own values pass as they are.
    bitrate : int, optional
        Bits a second; it replaces ``crf``.

    Raises
    ------
    ConfigError
        A value that the encoder does not know.
    """
    _check(encoder, crf, preset, bitrate)
    options: dict[str, str] = {}
    quality = _DEFAULT_CRF.get(encoder, 23) if crf is None else crf
    step = X264_PRESETS.index(preset) if preset in X264_PRESETS else None
    if encoder in ("libx264", "libx265"):
        options["preset"] = preset or "veryfast"
        if encoder == "libx265":
            options["x265-params"] = "log-level=error"
        if bitrate is None:
            options["crf"] = f"{quality:g}"
    elif encoder in ("libvpx-vp9", "libvpx", "libaom-av1"):
        options |= {"deadline": "good", "cpu-used": str(_VPX_CPU_USED[step]) if step is not None else preset or "7"}
        if encoder == "libvpx-vp9":
            options["row-mt"] = "1"
        if encoder == "libaom-av1":
            options |= {"usage": "realtime"}
            del options["deadline"]
        if bitrate is None:
            options |= {"crf": f"{quality:g}", "b": "0"}
        if alpha:
            options["auto-alt-ref"] = "0"
    elif encoder == "libsvtav1":
        options["preset"] = str(_SVT_PRESET[step]) if step is not None else preset or "11"
        if bitrate is None:
            options["crf"] = f"{quality:g}"
    elif encoder.endswith("_nvenc"):
        options["preset"] = _NVENC_PRESET[step] if step is not None else preset or "p4"
        if bitrate is None:
            options |= {"rc": "vbr", "cq": f"{quality:g}", "b": "0"}
    elif encoder.endswith("_qsv"):
        options["preset"] = _QSV_PRESET[step] if step is not None else preset or "veryfast"
        if bitrate is None:
            options["global_quality"] = f"{quality:g}"
    elif encoder.endswith("_vaapi"):
        if bitrate is None:
            options |= {"rc_mode": "CQP", "qp": f"{quality:g}"}
    elif encoder == "prores_ks":
        options |= {"profile": "4444" if "444" in pixel_format(encoder, layout, alpha) else "hq", "vendor": "apl0"}
        if alpha:
            options["alpha_bits"] = "8"
    elif encoder == "ffv1":
        options |= {"level": "3", "g": "1", "slicecrc": "1"}
    kind = str(av.codec.Codec(encoder, "w").canonical_name)
    return EncoderChoice(
        encoder,
        pixel_format(encoder, layout, alpha),
        options,
        bitrate or 0,
        even=kind in _EVEN_SIDES,
        carries_aspect=kind in _CARRIES_ASPECT,
        lossless=encoder in _LOSSLESS,
    )


def _check(encoder: str, crf: float | None, preset: str | None, bitrate: int | None) -> None:
    limit = _CRF_LIMIT.get(encoder, 63)
    if crf is not None and not 0 <= crf <= limit:
        raise ConfigError(f"crf {crf:g} is out of range: 0 to {limit} for {encoder}")
    if bitrate is not None and bitrate <= 0:
        raise ConfigError(f"bitrate {bitrate} must be positive (bits a second)")
    if encoder in ("libx264", "libx265") and preset is not None and preset not in X264_PRESETS:
        raise ConfigError(f"preset {preset!r} is unknown to {encoder}: {', '.join(X264_PRESETS)}")
