"""Frames to write and ways to read videos back, for the tests of the sinks."""

from fractions import Fraction

import av
import numpy as np

from streammatte.frames import ColorSpec, Frame, Layout, StreamInfo, plane_shapes

BT709 = ColorSpec(1, 1, 1, False)
RATE = Fraction(30)
TIME_BASE = Fraction(1, 90000)


def make_frames(
    count=12, size=(96, 64), layout=Layout.YUV420, *, alpha=False, color=BT709, times=None, time_base=TIME_BASE
):
    """Smooth moving gradients; ``times`` in units of ``time_base``, default 30 a second."""
    width, height = size
    times = times or [3000 * i for i in range(count)]
    frames = []
    for index, pts in enumerate(times):
        planes = []
        for channel, shape in enumerate(plane_shapes(layout, width, height)):
            y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
            wave = 126 + 80 * np.sin(x / 17 + index / 5 + channel) * np.cos(y / 13)
            plane = wave if len(shape) == 2 else np.stack([wave, 250 - wave, wave / 2 + 60], -1)
            planes.append(np.rint(plane).astype(np.uint8))
        ramp = None
        if alpha:
            ramp = np.clip(np.arange(width) * 4 - 60 + index, 0, 255).astype(np.uint8)
            ramp = np.repeat(ramp[None], height, 0)
        frames.append(Frame(tuple(planes), layout, pts, time_base, color, index, alpha=ramp))
    return frames


def info_of(frames, **changes):
    """The description of frames that were made here."""
    first = frames[0]
    given = {
        "width": first.width,
        "height": first.height,
        "layout": first.layout,
        "time_base": first.time_base,
        "rate": RATE,
        "color": first.color,
        "has_alpha": first.alpha is not None,
    }
    return StreamInfo(**{**given, **changes})


def write(sink, frames, **changes):
    """All of the frames through a sink."""
    sink.open(info_of(frames, **changes))
    for frame in frames:
        assert sink.process(frame) == []
    sink.drain()
    sink.close()


def times_of(path):
    """Presentation times of a video's images in seconds, exact, sorted, from the packets."""
    with av.open(str(path)) as video:
        stream = video.streams.video[0]
        return sorted(packet.pts * packet.time_base for packet in video.demux(stream) if packet.size)


def decode(path, decoder=None):
    """A video's images as ``av.VideoFrame``; ``decoder`` names one that is not FFmpeg's choice."""
    with av.open(str(path)) as video:
        stream = video.streams.video[0]
        if decoder is None:
            return list(video.decode(stream))
        context = av.codec.CodecContext.create(decoder, "r")
        images = []
        for packet in video.demux(stream):
            if packet.size:
                images += context.decode(packet)
        return images + context.decode(None)


def plane(image, index):
    """One plane of an image as numbers, at 8-bit scale."""
    depth = image.format.components[index].bits
    kind = np.uint8 if depth == 8 else np.uint16
    part = image.planes[index]
    rows = np.frombuffer(part, kind).reshape(part.height, part.line_size // kind().itemsize)[:, : part.width]
    return rows.astype(float) / 2 ** (depth - 8)
