"""Opening what PyAV can read: errors in one line, the right video stream, metadata worth keeping."""

from __future__ import annotations

import ipaddress
import logging
import os
import re
import socket
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import av
import av.error
from av.codec.hwaccel import HWAccel, hwdevices_available

from streammatte.errors import SourceError, SourceNotFoundError, UnsupportedSourceError

__all__ = [
    "MISSING_PROTOCOL",
    "best_video",
    "carried_streams",
    "decoder_of",
    "is_own_host",
    "kept_chapters",
    "kept_metadata",
    "local_address",
    "open_container",
    "reason",
    "shown_address",
]

log = logging.getLogger(__name__)

MISSING_PROTOCOL = "this build of FFmpeg does not know the protocol"

_DEMUXER_OPTIONS = {"rtsp": {"rtsp_transport": "tcp"}, "rtsps": {"rtsp_transport": "tcp"}}
"""RTSP over TCP: a lost UDP packet damages the image for half a second, and firewalls drop UDP."""

_CHAPTER_BASE = Fraction(1, 1000)

_LOCAL = ("file", "crypto", "data")
_PROTOCOLS = (
    *("http", "https", "httpproxy", "tcp", "tls", "crypto", "data", "rtsp", "rtsps", "rtp", "srtp", "udp"),
    *("rtmp", "rtmps", "rtmpt", "rtmpe", "srt", "hls", "ffrtmphttp", "ffrtmpcrypt", "rtmpte", "rtmpts"),
)
"""Protocols of files, and of addresses on the network; nothing on the network reaches local files."""

_INDIRECT = frozenset(
    {"concat", "concatf", "sdp", "dash", "imf", "image2", "image2pipe", "lavfi", "vapoursynth", "avisynth"}
)
"""Demuxers that open other files or run scripts; HLS is checked by its content."""

_PLAYLISTS = {"an ffconcat list": b"ffconcat version", "an HLS playlist": b"#EXTM3U", "an SDP description": b"v=0"}
"""What texts that name other files begin with."""

_HEAD = 64
_MAX_REDIRECTS = 8
_PATIENCE = 30.0
_PIPE = "pipe:0"

_TEXT_ART = frozenset({"tty", "bin", "xbin", "adf", "idf"})
"""Demuxers that render the characters of any text file as an image."""

_OF_THE_FILE = frozenset(
    {
        "major_brand",
        "minor_version",
        "compatible_brands",
        "encoder",
        "encoded_by",
        "handler_name",
        "vendor_id",
        "duration",
        "bps",
        "number_of_frames",
        "number_of_bytes",
        "alpha_mode",
        "stereo_mode",
        "timecode",
        "language",
        "variant_bitrate",
        "service_name",
        "service_provider",
    }
)
"""Metadata that describe the input's container or encoding; in an output they would be wrong."""


def reason(error: Exception) -> str:
    """FFmpeg's message without its number and the file's name."""
    return str(getattr(error, "strerror", None) or error).strip().rstrip(".") or type(error).__name__


def local_address(path: str | Path) -> str:
    """What FFmpeg opens for a local file, whatever is in its name: ``take:1.mp4`` is no protocol."""
    return os.path.abspath(path)  # noqa: PTH100 - a link stays one


def shown_address(url: str) -> str:
    """An address for messages and logs: without user, password, query and last path part, which may be secrets."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    folder, _, last = parts.path.rpartition("/")
    return f"{parts.scheme}://{host}{folder}/{'...' if last else ''}"


def _opened(address: str, hwaccel: str, **how: Any) -> Any:
    """Open, with the video's decoder on a device where ``hwaccel`` names one that can decode it; the log names it."""
    if hwaccel == "off":
        return av.open(address, **how)
    kinds = hwdevices_available() if hwaccel == "auto" else [hwaccel]
    for kind in kinds if address != _PIPE else ():  # a pipe is read once
        try:
            container = av.open(address, hwaccel=HWAccel(kind, allow_software_fallback=True), **how)
        except (av.error.FFmpegError, ValueError):  # no such device here, or no such address
            continue
        if any(video.codec_context.is_hwaccel for video in container.streams.video):
            log.info("the video is decoded by %s", kind)
            return container
        container.close()
    level = logging.INFO if hwaccel == "auto" else logging.WARNING
    log.log(level, "--hwaccel %s: no such decoder for this video here; the processor decodes it", hwaccel)
    return av.open(address, **how)


def open_container(
    address: str,
    name: str,
    *,
    timeout: float | None,
    url: bool,
    allow_playlists: bool = False,
    hwaccel: str = "off",
) -> Any:
    """Open ``address`` for demuxing.

    A file is never opened as a list of other files: FFmpeg would play what an ``ffconcat`` or SDP text in a file called
    ``.mp4`` names. HLS playlists may name files of their own folder; on the network, other servers but no local files.

    Parameters
    ----------
    address : str
        What FFmpeg opens: an absolute path, a URL, or ``pipe:0``.
    name : str
        What messages call it.
    timeout : float or None
        Seconds to wait for a connection and for each read; None waits for ever.
    url : bool
        True where ``address`` is on the network.
    allow_playlists : bool
        Let playlists name anything.
    hwaccel : str
        ``off``, ``auto``, or a device of FFmpeg's that decodes video.

    Raises
    ------
    SourceNotFoundError, UnsupportedSourceError, SourceError
    """
    options = dict(_DEMUXER_OPTIONS.get(address.partition(":")[0].lower(), {})) if url else {}
    local = not url and address != _PIPE
    if not allow_playlists:
        options["format_whitelist"] = ",".join(_demuxers())
        options["protocol_whitelist"] = ",".join(_PROTOCOLS if url else ("pipe",) if address == _PIPE else _LOCAL)
    else:
        options["protocol_whitelist"] = ",".join({*_PROTOCOLS, *_LOCAL, "pipe"})
    if local and not allow_playlists:
        _refuse_playlist(Path(address), name)
    guarded = url and not allow_playlists and address.lower().startswith(("http://", "https://"))
    guarded = guarded and not is_own_host(urlsplit(address).hostname)
    if guarded:
        options["max_redirects"] = "0"
    try:
        try:
            container = _opened(address, hwaccel, timeout=timeout, options=options, metadata_errors="replace")
        except av.error.OSError:
            target = _redirected(address, name, timeout) if guarded else None
            if target is None:
                raise
            container = _opened(target, hwaccel, timeout=timeout, options=options, metadata_errors="replace")
    except SourceError:
        raise
    except av.error.ProtocolNotFoundError as error:
        raise UnsupportedSourceError(
            f"cannot open {name}: {MISSING_PROTOCOL}; give a file, http, rtsp or rtmp"
        ) from error
    except (av.error.FileNotFoundError, av.error.HTTPNotFoundError) as error:
        raise SourceNotFoundError(f"there is no {name}; check the address") from error
    except (av.error.ExitError, av.error.TimeoutError) as error:
        limit = f" within {timeout:g} s" if timeout is not None else ""
        raise SourceError(f"{name} did not answer{limit}; check the address, or allow a longer time-out") from error
    except av.error.PermissionError as error:
        raise SourceError(f"{name} may not be read: permission denied; change its rights") from error
    except (av.error.InvalidDataError, av.error.EOFError) as error:
        why = "it may be of another kind or cut off before its index"
        if address == _PIPE:
            why = "a pipe cannot be searched: an MP4 whose index is at its end must be read from a file"
        raise UnsupportedSourceError(f"{name} is not a video that can be read ({reason(error)}); {why}") from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        what = "the address and the network" if url else "the file"
        raise SourceError(f"cannot open {name}: {reason(error)}; check {what}") from error
    if container.format.name in _TEXT_ART:
        container.close()
        raise UnsupportedSourceError(f"{name} is a text file, not a video; give a video")
    return container


def is_own_host(host: str | None) -> bool:
    """True for a host that is this machine or a link of its own: loopback, unspecified and link-local addresses."""
    try:
        found = {ipaddress.ip_address(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except (OSError, ValueError):
        return False
    return any(address.is_loopback or address.is_unspecified or address.is_link_local for address in found)


def _redirected(address: str, name: str, timeout: float | None) -> str | None:
    """Where a server sends the reader; None where it does not. Redirections to this machine are refused."""
    import requests

    target = address
    for _ in range(_MAX_REDIRECTS):
        try:
            answer = requests.get(
                target,
                headers={"User-Agent": "streammatte"},
                allow_redirects=False,
                stream=True,
                timeout=timeout or _PATIENCE,
            )
        except (OSError, ValueError):
            return None
        answer.close()
        if not answer.is_redirect:
            return target if answer.ok and target != address else None
        target = urljoin(target, answer.headers["Location"])
        parts = urlsplit(target)
        if parts.scheme not in ("http", "https") or is_own_host(parts.hostname):
            raise UnsupportedSourceError(
                f"{name} redirects to {parts.scheme}://{parts.hostname}, which may be a service of this machine; "
                "if it is trusted, pass --allow-playlists"
            )
    return None


@cache
def _demuxers() -> tuple[str, ...]:
    """Every demuxer of the build but those that open other files by themselves."""
    return tuple(sorted(name for name in av.formats_available if name not in _INDIRECT))


def _refuse_playlist(path: Path, name: str) -> None:
    """Refuse a local file whose content names other files, but for HLS that stays in its own folder."""
    if not path.is_file():
        return
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD).lstrip(b"\xef\xbb\xbf \r\n\t")
    except OSError as error:
        raise SourceError(f"{name} may not be read: {error.strerror or error}") from error
    kind = next((kind for kind, mark in _PLAYLISTS.items() if head.startswith(mark)), None)
    if kind is None:
        return
    outside = "which plays other files"
    if kind == "an HLS playlist":
        outside = next((f"which names {uri}, outside its folder" for uri in _uris(path) if not _inside(path, uri)), "")
    if outside:
        raise UnsupportedSourceError(f"{name} is {kind}, {outside}; if it is trusted, pass --allow-playlists")


def _uris(path: Path) -> Iterator[str]:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.strip() and not line.startswith("#"):
            yield line.strip()
        yield from re.findall(r'URI="([^"]*)"', line)


def _inside(playlist: Path, uri: str) -> bool:
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", uri) is not None:
        return False
    folder = playlist.parent.resolve()
    target = (folder / uri.partition("?")[0]).resolve()
    if not target.is_relative_to(folder):
        return False
    return (
        target.suffix.lower() not in (".m3u8", ".m3u")
        or target == playlist.resolve()
        or all(_inside(target, nested) for nested in (_uris(target) if target.is_file() else ()))
    )


def best_video(container: Any, name: str, notice: int = logging.WARNING) -> Any:
    """The video's main video stream: never a cover image, the default one before others, then the largest.

    Parameters
    ----------
    container : av.container.InputContainer
    name : str
        What messages call it.
    notice : int
        Level of the log for streams that are left out.

    Raises
    ------
    UnsupportedSourceError
        There is no video stream.
    """
    still = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    videos = [s for s in container.streams.video if not s.disposition & still]
    known = [s for s in videos if s.codec_context is not None]
    if not known:
        found = ", ".join(sorted({s.type or "unknown" for s in container.streams if s not in videos})) or "none"
        why = f"no video stream (it has: {found})" if not videos else "no video stream of a known codec"
        raise UnsupportedSourceError(f"{name} has {why}; give a video with an image")
    best = max(known, key=lambda s: (bool(s.disposition & av.stream.Disposition.default), s.width * s.height, -s.index))
    if len(known) > 1:
        log.log(notice, "%s has %d video streams; stream %d is used", name, len(known), best.index)
    return best


def decoder_of(video: Any) -> Any:
    """The stream's decoder; libvpx for VP8 and VP9 with alpha, which FFmpeg's own decoders leave out."""
    context = video.codec_context
    name = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(context.codec.canonical_name)
    if name is None or str(video.metadata.get("alpha_mode", video.metadata.get("ALPHA_MODE", "0"))) != "1":
        return context
    try:
        decoder = av.codec.CodecContext.create(name, "r")
    except (av.error.FFmpegError, ValueError):
        log.warning("this build of FFmpeg has no %s: the video's alpha is not read", name)
        return context
    decoder.extradata = context.extradata
    decoder.thread_count = context.thread_count
    return decoder


def carried_streams(container: Any, video: Any, notice: int = logging.WARNING) -> tuple[Any, ...]:
    """Audio and subtitle streams whose packets can be copied; of an MPEG-TS with several programmes, the audio of the
    video's own.

    Parameters
    ----------
    container, video
        The open container and its video stream.
    notice : int
        Level at which streams that are left out are logged.
    """
    carried = [s for s in container.streams if s.type in ("audio", "subtitle") and s.codec_context is not None]
    if container.format.name == "mpegts" and len(container.streams.video) > 1:
        own = container.streams.best("audio", related=video)
        kept = [s for s in carried if own is not None and s.index == own.index]
        if len(kept) < len(carried):
            log.log(notice, "%d streams of other programmes are left out", len(carried) - len(kept))
        carried = kept
    return tuple(carried)


def kept_metadata(container: Any, video: Any) -> dict[str, str]:
    """Title, date, location and all else that describes the content, and the timecode; keys in lower case."""
    kept: dict[str, str] = {}
    for tags in (video.metadata, container.metadata):
        lower = {str(key).lower(): str(value) for key, value in tags.items() if value}
        kept |= {key: lower[key] for key in lower if key not in _OF_THE_FILE and not key.startswith("_statistics")}
        if "timecode" in lower:
            kept["timecode"] = lower["timecode"]
    if kept.get("title") == os.path.basename(str(container.name)):  # noqa: PTH119 - a name, not a path
        del kept["title"]
    return kept


def kept_chapters(container: Any, begin: Fraction, end: Fraction | None) -> list[dict[str, Any]]:
    """Chapters of the part from ``begin`` to ``end``, seconds of the container; their times count from ``begin``.

    Parameters
    ----------
    container
        Open for reading.
    begin : Fraction
        Seconds of the container.
    end : Fraction, optional
        The same; None for its end.
    """
    kept = []
    for chapter in container.chapters():
        base = chapter["time_base"]
        first, last = chapter["start"] * base, chapter["end"] * base
        if last <= begin or (end is not None and first >= end):
            continue
        inside = max(first, begin) - begin, (last if end is None else min(last, end)) - begin
        start, stop = (round(value / _CHAPTER_BASE) for value in inside)
        kept.append({**chapter, "start": start, "end": stop, "time_base": _CHAPTER_BASE})
    return kept
