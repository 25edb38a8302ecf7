"""The containers that can be written: FFmpeg's name of each, its encoders, and which hold alpha."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["CONTAINERS", "Container", "container_of", "containers_with_alpha"]


@dataclass(frozen=True, slots=True)
class Container:
    """One container of videos.

    Parameters
    ----------
    muxer : str
        FFmpeg's name.
    video : tuple of str
        Encoders that ``auto`` tries, in order.
    encoders : tuple of str
        Encoders that may be named, of those that the build has.
    alpha : tuple of str
        Encoders that keep an alpha channel there; the first is what ``auto`` takes.
    audio : tuple of str
        Encoders for audio of a codec that the container refuses; the first is what ``auto`` takes.
    subtitles : str
        What text subtitles are turned into where the container refuses their codec.
    matte : tuple of str
        Encoders that ``auto`` tries first for mattes (gray frames).
    options : tuple of (str, str)
        Options of the muxer.
    refused : tuple of str
        Codecs that FFmpeg's muxer would take but that players or the muxer itself fail with.
    """

    muxer: str
    video: tuple[str, ...]
    encoders: tuple[str, ...]
    alpha: tuple[str, ...]
    audio: tuple[str, ...]
    subtitles: str
    matte: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    refused: tuple[str, ...] = ()


_H264 = ("libx264", "h264_nvenc", "h264_qsv", "h264_videotoolbox", "h264_vaapi", "h264_amf", "h264_mf", "libopenh264")
_HEVC = ("libx265", "hevc_nvenc", "hevc_qsv", "hevc_videotoolbox", "hevc_vaapi", "hevc_amf")
_AV1 = ("libsvtav1", "libaom-av1", "av1_nvenc", "av1_qsv", "av1_vaapi")
_SOFTWARE_H264 = ("libx264", "libopenh264")

_FRONT_INDEX = ("movflags", "+faststart")
"""The index goes before the images, so that a browser starts to play before it has all of the video."""

_TIMES_AS_THEY_ARE = ("avoid_negative_ts", "disabled")
"""Else the muxer moves the whole video later by the audio's lead-in (AAC begins a packet or two before zero)."""

_PCM = tuple(
    f"pcm_{kind}"
    for kind in (
        *(f"{sign}{bits}{order}" for sign in "su" for bits in (16, 24, 32) for order in ("le", "be")),
        *("u8", "s8", "f32le", "f32be", "f64le", "f64be", "alaw", "mulaw", "bluray", "dvd"),
    )
)
"""Uncompressed audio is noise or silence in most players of MP4."""

_MP4 = Container(
    muxer="mp4",
    video=_SOFTWARE_H264,
    encoders=(*_H264, *_HEVC, *_AV1, "libvpx-vp9"),
    alpha=(),
    audio=("aac", "alac", "libopus"),
    subtitles="mov_text",
    options=(_FRONT_INDEX,),
    refused=_PCM,
)
_MOV = Container(
    muxer="mov",
    video=_SOFTWARE_H264,
    encoders=(*_H264, *_HEVC, "prores_ks", "qtrle", "png"),
    alpha=("prores_ks", "qtrle", "png"),
    audio=("aac", "alac"),
    subtitles="mov_text",
    options=(_FRONT_INDEX,),
)
_MKV = Container(
    muxer="matroska",
    video=_SOFTWARE_H264,
    encoders=(*_H264, *_HEVC, *_AV1, "libvpx-vp9", "libvpx", "ffv1", "prores_ks"),
    alpha=("ffv1", "libvpx-vp9"),
    audio=("aac", "alac", "libopus"),
    subtitles="subrip",
    matte=("ffv1",),
    options=(_TIMES_AS_THEY_ARE,),
)
_WEBM = Container(
    muxer="webm",
    video=("libvpx-vp9", "libvpx", "libsvtav1"),
    encoders=("libvpx-vp9", "libvpx", *_AV1),
    alpha=("libvpx-vp9",),
    audio=("libopus",),
    subtitles="webvtt",
)

CONTAINERS: dict[str, Container] = {".mp4": _MP4, ".m4v": _MP4, ".mov": _MOV, ".mkv": _MKV, ".webm": _WEBM}
"""By the suffix of the file's name, in lower case."""

_IMAGES_WITH_ALPHA = ("PNG sequences (name_%04d.png)", ".gif (on or off)")


def containers_with_alpha() -> list[str]:
    """What can hold an alpha channel, in words for a message: ``['.mov (prores_ks)', ...]``."""
    videos = [f"{suffix} ({box.alpha[0]})" for suffix, box in CONTAINERS.items() if box.alpha]
    return [*videos, *_IMAGES_WITH_ALPHA]


def container_of(target: Path) -> Container | None:
    """The container that the name's suffix stands for, or None."""
    return CONTAINERS.get(target.suffix.lower())
