"""Small videos of every kind for tests, made with PyAV.

``make_video(path, ...)`` writes one and returns its path. Frame ``n`` is ``pattern_image(n, width, height)``, so that a
test can compare what comes out.
"""

from __future__ import annotations

import math
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

TIME_BASE = Fraction(1, 90_000)

ASS_HEADER = b"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, \
StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


def pattern_image(index: int, width: int, height: int) -> np.ndarray:
    """RGB (H, W, 3) uint8: a gradient, a bright square that walks to the right, another colour in three corners."""
    y, x = np.mgrid[:height, :width]
    image = np.stack([x * 200 // width + 20, y * 200 // height + 20, np.full_like(x, 90)], -1).astype(np.uint8)
    side = max(4, min(width, height) // 4)
    left = (4 + 3 * index) % max(1, width - side)
    image[height // 2 - side // 2 : height // 2 + side // 2, left : left + side] = (235, 220, 60)
    corner = max(2, min(width, height) // 6)
    image[:corner, :corner] = (220, 30, 30)
    image[:corner, -corner:] = (30, 220, 30)
    image[-corner:, :corner] = (30, 30, 220)
    return image


def _frame(image: np.ndarray, pix_fmt: str, *, full_range: bool, matrix: int) -> av.VideoFrame:
    source = av.VideoFrame.from_ndarray(image, format="rgba" if image.shape[2] == 4 else "rgb24")
    if pix_fmt.startswith(("rgb", "gbr", "bgr", "pal", "argb")):
        return source.reformat(format=pix_fmt)
    return source.reformat(
        format=pix_fmt,
        dst_colorspace={1: 1, 9: 9}.get(matrix, 5),
        dst_color_range=2 if full_range else 1,
    )


def _sine(rate: int, seconds: float) -> np.ndarray:
    return (0.3 * np.sin(2 * math.pi * 440 * np.arange(int(rate * seconds)) / rate)).astype(np.float32)[None]


def _write_audio(container, stream, seconds: float, *, start: float) -> None:
    rate = stream.rate
    samples = _sine(rate, seconds)
    step = stream.codec_context.frame_size or 1024
    resampler = av.AudioResampler(format=stream.format.name, layout=stream.layout.name, rate=rate)
    for at in range(0, samples.shape[1], step):
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples[:, at : at + step]), format="fltp", layout="mono"
        )
        frame.sample_rate = rate
        frame.time_base = Fraction(1, rate)
        frame.pts = at + round(start * rate)
        for part in resampler.resample(frame):
            container.mux(stream.encode(part))
    container.mux(stream.encode(None))


def make_video(
    path: Path,
    *,
    width: int = 96,
    height: int = 64,
    frames: int = 20,
    rate: Fraction | int = 25,
    pts: list[int] | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    container: str | None = None,
    options: dict[str, str] | None = None,
    rotation: int | None = None,
    matrix33: tuple[int, ...] | None = None,
    sar: Fraction | None = None,
    matrix: int = 2,
    primaries: int = 2,
    transfer: int = 2,
    full_range: bool = False,
    interlaced: bool = False,
    audio: str | None = None,
    audio_seconds: float | None = None,
    audio_start: float = 0.0,
    subtitles: str | None = None,
    cover: bool = False,
    metadata: dict[str, str] | None = None,
    image=pattern_image,
    time_base: Fraction = TIME_BASE,
    gop: int | None = None,
) -> Path:
    """Write a video.

    ``pts`` (in 1/90000 s, or ``time_base``) makes a variable frame rate; otherwise frames follow at ``rate``.
    ``rotation`` and ``matrix33`` write a display matrix. ``audio`` is an encoder's name (``aac``, ``libopus``,
    ``pcm_s16le`` ...), ``subtitles`` too (``mov_text``, ``subrip``; two lines).
    ``image(index, width, height)`` gives RGB or RGBA.
    """
    path = Path(path)
    with av.open(str(path), "w", format=container) as out:
        out.metadata.update(metadata or {})
        rate = Fraction(rate)
        stream = out.add_stream(codec, rate=rate, options=_encoder_options(codec, options, interlaced))
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        context = stream.codec_context
        context.time_base = time_base if codec not in ("mpeg4", "gif", "mjpeg", "wrapped_avframe") else 1 / rate
        if gop:
            context.gop_size = gop
        if sar:
            context.sample_aspect_ratio = sar
        context.colorspace, context.color_primaries, context.color_trc = matrix, primaries, transfer
        context.color_range = 2 if full_range else 1
        if rotation is not None:
            stream.set_display_rotation(rotation)
        if matrix33 is not None:
            stream.set_display_matrix(matrix33)
        audio_stream = None
        if audio:
            audio_stream = out.add_stream(audio, rate=48_000)
            audio_stream.layout = "mono"
        words = out.add_stream(subtitles) if subtitles else None
        if words is not None:
            words.codec_context.subtitle_header = ASS_HEADER
        image_stream = None
        if cover:
            image_stream = out.add_stream("mjpeg", rate=1)
            image_stream.width, image_stream.height, image_stream.pix_fmt = 200, 200, "yuvj420p"
            image_stream.disposition = av.stream.Disposition.attached_pic
        times = pts if pts is not None else [round(n / rate / context.time_base) for n in range(frames)]
        for index, at in enumerate(times):
            frame = _frame(image(index, width, height), pix_fmt, full_range=full_range, matrix=matrix)
            frame.colorspace, frame.color_range = matrix, 2 if full_range else 1
            frame.color_primaries, frame.color_trc = primaries, transfer
            frame.pts, frame.time_base = at, context.time_base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if audio_stream is not None:
            seconds = audio_seconds if audio_seconds is not None else float((times[-1] + 1) * context.time_base)
            _write_audio(out, audio_stream, seconds, start=audio_start)
        if words is not None:
            _write_subtitles(out, words)
        if image_stream is not None:
            still = _frame(pattern_image(0, 200, 200), "yuvj420p", full_range=True, matrix=5)
            out.mux(image_stream.encode(still))
            out.mux(image_stream.encode(None))
    return path


def _encoder_options(codec: str, options: dict[str, str] | None, interlaced: bool) -> dict[str, str]:
    given = {"preset": "ultrafast", "crf": "12"} if codec in ("libx264", "libx265") else {}
    if codec == "libx265":
        given["x265-params"] = "log-level=none:pools=1"
    if interlaced and codec == "libx264":
        given["x264-params"] = "tff=1"
        given["flags"] = "+ildct+ilme"
    return given | (options or {})


def _write_subtitles(out, stream) -> None:
    for index in range(2):
        text = f"line {index}".encode()
        packet = av.Packet(struct.pack(">H", len(text)) + text if stream.codec_context.name == "mov_text" else text)
        packet.stream, packet.time_base = stream, Fraction(1, 1000)
        packet.pts = packet.dts = 100 + 300 * index
        packet.duration = 200
        out.mux(packet)


def truncate(path: Path, part: float, target: Path | None = None) -> Path:
    """The first ``part`` (0..1) of a file's bytes, under ``target`` (or in its place)."""
    data = Path(path).read_bytes()
    target = Path(target or path)
    target.write_bytes(data[: int(len(data) * part)])
    return target


def read_times(path: Path) -> list[tuple[int, Fraction]]:
    """(pts, time_base) of every frame of the main video stream, decoded by PyAV alone."""
    with av.open(str(path)) as video:
        return [(frame.pts, frame.time_base) for frame in video.decode(video=0)]


def read_packets(path: Path, kind: str = "audio") -> list[tuple[int, bytes]]:
    """(pts, bytes) of every packet of the first stream of a kind."""
    with av.open(str(path)) as video:
        stream = next(s for s in video.streams if s.type == kind)
        return [(packet.pts, bytes(packet)) for packet in video.demux(stream) if packet.size]
