"""How an output is encoded: quality, speed and bit rate as the private options of each family of encoders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from streammatte.errors import ConfigError

__all__ = ["X264_PRESETS", "EncodeOptions", "options_for"]

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
"""The constant quality used by default, each on its encoder's own scale: about the quality of H.264 at 20."""

_OTHER_CRF = 23
"""The same for hardware encoders, whose scales are H.264's."""

_CRF_LIMIT = {"libx264": 51, "libx265": 51}

# The named presets of x264 as steps of encoders that count them otherwise; index is the place in X264_PRESETS.
_VPX_CPU_USED = (8, 8, 7, 6, 5, 4, 3, 2, 1, 0)
_SVT_PRESET = (9, 9, 9, 8, 8, 7, 6, 5, 4, 2)  # above 9 its makers warn of artefacts
_NVENC_PRESET = ("p1", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p7", "p7")
_QSV_PRESET = ("veryfast",) * 3 + ("faster", "fast", "medium", "slow", "slower", "veryslow", "veryslow")

_VPX_REALTIME_FROM = 5
"""From this step on libvpx runs in its real-time mode: at 960x540 an image takes 7 ms of a core at step 7, and 53 ms
in the other mode at any step, for a third more bits at the same PSNR (44.2 dB)."""


@dataclass(frozen=True, slots=True)
class EncodeOptions:
    """How an output is encoded.

    Parameters
    ----------
    codec : str
        FFmpeg's name of a video encoder; ``auto`` takes what suits the container and falls back to another in software.
    crf : float, optional
        Constant quality on the encoder's own scale; None is 20 for H.264 and alike for others.
    preset : str, optional
        x264's names for every encoder that has a speed, or the encoder's own; None is ``veryfast``.
    bitrate : int, optional
        Bits a second instead of constant quality.
    audio_codec : {"auto", "aac", "alac", "opus"}
        What audio becomes that the container cannot hold; ``auto`` is the container's usual codec.
    output_size : (int, int), optional
        Width and height; None keeps the frames' own.
    tracks : bool
        Carry audio, subtitles and chapters over.
    metadata : bool
        Carry title, date, location and other metadata over.
    overwrite : bool
        Replace what is there, at the end and at once.
    hwaccel : str
        Device whose encoder ``auto`` takes where one starts: cuda, qsv, vaapi, videotoolbox, d3d11va, auto; or off.
    threads : int
        Of the encoder; 0 lets it choose.
    """

    codec: str = "auto"
    crf: float | None = None
    preset: str | None = None
    bitrate: int | None = None
    audio_codec: str = "auto"
    output_size: tuple[int, int] | None = None
    tracks: bool = True
    metadata: bool = True
    overwrite: bool = False
    hwaccel: str = "off"
    threads: int = 0

    def quality(self, encoder: str, option: str, **also: str) -> dict[str, str]:
        """The constant quality as encoder options; none where a bit rate was requested."""
        if self.bitrate is not None:
            return {}
        value = _DEFAULT_CRF.get(encoder, _OTHER_CRF) if self.crf is None else self.crf
        return {option: f"{value:g}", **also}

    def speed(self, steps: tuple[str | int, ...]) -> str:
        """The preset in the encoder's notation."""
        preset = self.preset or "veryfast"
        return str(steps[X264_PRESETS.index(preset)]) if preset in X264_PRESETS else preset


def options_for(encoder: str, options: EncodeOptions, pix_fmt: str) -> dict[str, str]:
    """The private options of an encoder.

    Parameters
    ----------
    encoder : str
        FFmpeg's name.
    options : EncodeOptions
        What was requested of it.
    pix_fmt : str
        What it is fed.

    Raises
    ------
    ConfigError
        A value that the encoder does not have.
    """
    _check(encoder, options)
    for suffix, make in _FAMILIES.items():
        if encoder.endswith(suffix):
            return make(encoder, options, pix_fmt)
    return {}


def _check(encoder: str, options: EncodeOptions) -> None:
    limit = _CRF_LIMIT.get(encoder, 63)
    if options.crf is not None and not 0 <= options.crf <= limit:
        raise ConfigError(f"crf {options.crf:g} is out of range: 0 to {limit} for {encoder}")
    if options.bitrate is not None and options.bitrate <= 0:
        raise ConfigError(f"bitrate {options.bitrate} must be positive (bits a second)")
    if encoder in ("libx264", "libx265") and options.preset not in (None, *X264_PRESETS):
        raise ConfigError(f"preset {options.preset!r} is unknown to {encoder}: {', '.join(X264_PRESETS)}")
    counted = encoder.startswith("libvpx") or encoder in ("libsvtav1", "libaom-av1")
    if counted and options.preset not in (None, *X264_PRESETS) and not str(options.preset).isdigit():
        raise ConfigError(f"preset {options.preset!r} is unknown to {encoder}: {', '.join(X264_PRESETS)} or a number")


def _x26x(encoder: str, options: EncodeOptions, _pix_fmt: str) -> dict[str, str]:
    found = {"preset": options.speed(X264_PRESETS), **options.quality(encoder, "crf")}
    if encoder == "libx265":
        found["x265-params"] = "log-level=error"
    return found


def _vpx(encoder: str, options: EncodeOptions, pix_fmt: str) -> dict[str, str]:
    step = options.speed(_VPX_CPU_USED)
    mode = "realtime" if int(step) >= _VPX_REALTIME_FROM else "good"
    found = {"deadline": mode, "cpu-used": step, **options.quality(encoder, "crf", b="0")}
    if encoder == "libvpx-vp9":
        found["row-mt"] = "1"
    if "yuva" in pix_fmt:
        found["auto-alt-ref"] = "0"
    return found


def _aom(encoder: str, options: EncodeOptions, _pix_fmt: str) -> dict[str, str]:
    return {"usage": "realtime", "cpu-used": options.speed(_VPX_CPU_USED), **options.quality(encoder, "crf", b="0")}


def _svt(encoder: str, options: EncodeOptions, _pix_fmt: str) -> dict[str, str]:
    return {"preset": options.speed(_SVT_PRESET), **options.quality(encoder, "crf")}


def _nvenc(encoder: str, options: EncodeOptions, _pix_fmt: str) -> dict[str, str]:
    return {"preset": options.speed(_NVENC_PRESET), **options.quality(encoder, "cq", rc="vbr", b="0")}


def _qsv(encoder: str, options: EncodeOptions, _pix_fmt: str) -> dict[str, str]:
    return {"preset": options.speed(_QSV_PRESET), **options.quality(encoder, "global_quality")}


def _vaapi(encoder: str, options: EncodeOptions, _pix_fmt: str) -> dict[str, str]:
    return options.quality(encoder, "qp", rc_mode="CQP")


def _videotoolbox(encoder: str, options: EncodeOptions, _pix_fmt: str) -> dict[str, str]:
    """VideoToolbox counts quality upwards, 1 to 100, in FFmpeg's units of lambda."""
    value = _OTHER_CRF if options.crf is None else options.crf
    if options.bitrate is not None:
        return {}
    return {"flags": "+qscale", "global_quality": f"{round(118 * (100 - 1.6 * min(value, 60)))}"}


def _prores(_encoder: str, options: EncodeOptions, pix_fmt: str) -> dict[str, str]:
    found = {"profile": "4444" if "444" in pix_fmt else "hq", "vendor": "apl0"}
    if "yuva" in pix_fmt:
        found["alpha_bits"] = "8"
    return found


def _ffv1(_encoder: str, _options: EncodeOptions, _pix_fmt: str) -> dict[str, str]:
    """Version 3 with a checksum a slice, each image on its own: any can be read without its neighbours."""
    return {"level": "3", "g": "1", "slicecrc": "1"}


_FAMILIES: dict[str, Callable[[str, EncodeOptions, str], dict[str, str]]] = {
    "libx264": _x26x,
    "libx265": _x26x,
    "libvpx": _vpx,
    "libvpx-vp9": _vpx,
    "libaom-av1": _aom,
    "libsvtav1": _svt,
    "_nvenc": _nvenc,
    "_qsv": _qsv,
    "_vaapi": _vaapi,
    "_videotoolbox": _videotoolbox,
    "prores_ks": _prores,
    "ffv1": _ffv1,
}
"""By the end of the encoder's name."""
