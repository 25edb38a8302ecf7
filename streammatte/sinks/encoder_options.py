"""How quality, speed and bit rate are said to each family of encoders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from streammatte.errors import ConfigError

__all__ = ["X264_PRESETS", "Asked", "options_for"]

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

_OTHER_CRF = 23
"""The same for hardware encoders, whose scales are H.264's."""

_CRF_LIMIT = {"libx264": 51, "libx265": 51}

# The named presets of x264 as steps of encoders that count them otherwise; index is the place in X264_PRESETS.
_VPX_CPU_USED = (8, 8, 7, 6, 5, 4, 3, 2, 1, 0)
_SVT_PRESET = (9, 9, 9, 8, 8, 7, 6, 5, 4, 2)  # above 9 its makers warn of artefacts
_NVENC_PRESET = ("p1", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p7", "p7")
_QSV_PRESET = ("veryfast",) * 3 + ("faster", "fast", "medium", "slow", "slower", "veryslow", "veryslow")

_VPX_REALTIME_FROM = 5
"""libvpx's steps from here on are its real-time mode: at 960x540 an image takes 7 ms of a core at step 7, and 53 ms
in the other mode at any step, for a third more bits at the same PSNR (44.2 dB)."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user wants of an encoder.

    Parameters
    ----------
    crf : float, optional
        Constant quality on the encoder's own scale; None is its default here.
    preset : str, optional
        x264's names, understood for every encoder that has a speed; an encoder's own values pass as they are.
    bitrate : int, optional
        Bits a second; it replaces ``crf``.
    alpha : bool
        The images carry an alpha channel.
    """

    crf: float | None = None
    preset: str | None = None
    bitrate: int | None = None
    alpha: bool = False

    def quality(self, encoder: str, option: str, **also: str) -> dict[str, str]:
        """The constant quality as options, or nothing where a bit rate was asked for."""
        if self.bitrate is not None:
            return {}
        value = _DEFAULT_CRF.get(encoder, _OTHER_CRF) if self.crf is None else self.crf
        return {option: f"{value:g}", **also}

    def speed(self, steps: tuple[str | int, ...]) -> str:
        """The preset as the encoder says it."""
        preset = self.preset or "veryfast"
        return str(steps[X264_PRESETS.index(preset)]) if preset in X264_PRESETS else preset


def options_for(encoder: str, asked: Asked, pix_fmt: str) -> dict[str, str]:
    """The private options of an encoder.

    Raises
    ------
    ConfigError
        A value that the encoder does not know.
    """
    _check(encoder, asked)
    for ending, make in _FAMILIES.items():
        if encoder.endswith(ending):
            return make(encoder, asked, pix_fmt)
    return {}


def _check(encoder: str, asked: Asked) -> None:
    limit = _CRF_LIMIT.get(encoder, 63)
    if asked.crf is not None and not 0 <= asked.crf <= limit:
        raise ConfigError(f"crf {asked.crf:g} is out of range: 0 to {limit} for {encoder}")
    if asked.bitrate is not None and asked.bitrate <= 0:
        raise ConfigError(f"bitrate {asked.bitrate} must be positive (bits a second)")
    if encoder in ("libx264", "libx265") and asked.preset not in (None, *X264_PRESETS):
        raise ConfigError(f"preset {asked.preset!r} is unknown to {encoder}: {', '.join(X264_PRESETS)}")
    counted = encoder.startswith("libvpx") or encoder in ("libsvtav1", "libaom-av1")
    if counted and asked.preset not in (None, *X264_PRESETS) and not str(asked.preset).isdigit():
        raise ConfigError(f"preset {asked.preset!r} is unknown to {encoder}: {', '.join(X264_PRESETS)} or a number")


def _x26x(encoder: str, asked: Asked, _pix_fmt: str) -> dict[str, str]:
    options = {"preset": asked.speed(X264_PRESETS), **asked.quality(encoder, "crf")}
    if encoder == "libx265":
        options["x265-params"] = "log-level=error"
    return options


def _vpx(encoder: str, asked: Asked, _pix_fmt: str) -> dict[str, str]:
    step = asked.speed(_VPX_CPU_USED)
    mode = "realtime" if int(step) >= _VPX_REALTIME_FROM else "good"
    options = {"deadline": mode, "cpu-used": step, **asked.quality(encoder, "crf", b="0")}
    if encoder == "libvpx-vp9":
        options["row-mt"] = "1"
    if asked.alpha:
        options["auto-alt-ref"] = "0"
    return options


def _aom(encoder: str, asked: Asked, _pix_fmt: str) -> dict[str, str]:
    return {"usage": "realtime", "cpu-used": asked.speed(_VPX_CPU_USED), **asked.quality(encoder, "crf", b="0")}


def _svt(encoder: str, asked: Asked, _pix_fmt: str) -> dict[str, str]:
    return {"preset": asked.speed(_SVT_PRESET), **asked.quality(encoder, "crf")}


def _nvenc(encoder: str, asked: Asked, _pix_fmt: str) -> dict[str, str]:
    return {"preset": asked.speed(_NVENC_PRESET), **asked.quality(encoder, "cq", rc="vbr", b="0")}


def _qsv(encoder: str, asked: Asked, _pix_fmt: str) -> dict[str, str]:
    return {"preset": asked.speed(_QSV_PRESET), **asked.quality(encoder, "global_quality")}


def _vaapi(encoder: str, asked: Asked, _pix_fmt: str) -> dict[str, str]:
    return asked.quality(encoder, "qp", rc_mode="CQP")


def _videotoolbox(encoder: str, asked: Asked, _pix_fmt: str) -> dict[str, str]:
    """VideoToolbox counts quality upwards, 1 to 100, in FFmpeg's units of lambda."""
    value = _OTHER_CRF if asked.crf is None else asked.crf
    if asked.bitrate is not None:
        return {}
    return {"flags": "+qscale", "global_quality": f"{round(118 * (100 - 1.6 * min(value, 60)))}"}


def _prores(_encoder: str, asked: Asked, pix_fmt: str) -> dict[str, str]:
    options = {"profile": "4444" if "444" in pix_fmt else "hq", "vendor": "apl0"}
    if asked.alpha:
        options["alpha_bits"] = "8"
    return options


def _ffv1(_encoder: str, _asked: Asked, _pix_fmt: str) -> dict[str, str]:
    """Version 3 with a checksum a slice, each image on its own: any can be read without its neighbours."""
    return {"level": "3", "g": "1", "slicecrc": "1"}


_FAMILIES: dict[str, Callable[[str, Asked, str], dict[str, str]]] = {
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
