"""What this build of FFmpeg can do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import av
import av.codec
import av.codec.hwaccel
import av.error

__all__ = ["FfmpegFeatures", "ffmpeg_features", "has_encoder", "has_protocol"]


def has_encoder(name: str) -> bool:
    """True where this build of FFmpeg has the video encoder."""
    try:
        return bool(av.codec.Codec(name, "w").type == "video")
    except (av.codec.codec.UnknownCodecError, av.error.FFmpegError):
        return False


@dataclass(frozen=True, slots=True)
class FfmpegFeatures:
    """The version of PyAV, and which of the given names it has."""

    version: str
    encoders: tuple[str, ...]
    protocols: tuple[str, ...]
    hwaccel: tuple[str, ...]


def ffmpeg_features(encoders: Sequence[str], protocols: Sequence[str]) -> FfmpegFeatures:
    """Look for encoders (video and audio), protocols and hardware decoding."""
    return FfmpegFeatures(
        av.__version__,
        tuple(name for name in encoders if has_encoder(name) or _has_codec(name)),
        tuple(name for name in protocols if has_protocol(name)),
        tuple(av.codec.hwaccel.hwdevices_available()),
    )


def _has_codec(name: str) -> bool:
    try:
        return bool(av.codec.Codec(name, "w"))
    except (av.codec.codec.UnknownCodecError, av.error.FFmpegError):
        return False


def has_protocol(name: str) -> bool:
    """Opening an address without a server shows at once whether the protocol is supported."""
    try:
        av.open(f"{name}://127.0.0.1:1/none", timeout=(0.2, 0.2)).close()
    except (av.error.ProtocolNotFoundError, av.error.DemuxerNotFoundError):
        return False
    except (av.error.FFmpegError, OSError):
        return True
    return True
