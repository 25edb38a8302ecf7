"""Runs of the sample in segments, and what is compared of their files."""

import av

from streammatte.options.video import VideoOptions

PERSON = "samples/person.mp4"


def options(folder, name, **more):
    given = {"size": 192, "background": "navy", "alpha": str(folder / f"{name}.alpha.mkv"), "preset": "ultrafast"}
    return VideoOptions.build(given | more)


def packets(path):
    """Times of the video's packets in their order, and everything of the audio's."""
    found = {}
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.size:
                audio = packet.stream.type == "audio"
                data = bytes(packet) if audio else b""
                found.setdefault(packet.stream.type, []).append((packet.pts, packet.dts, packet.duration, data))
    times = sorted(entry[0] for entry in found["video"])
    return times, [entry[1] for entry in found["video"]], found.get("audio")


def pixels(path, form="gray"):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format=form) for frame in container.decode(video=0)]
