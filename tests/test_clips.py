"""Real videos, whole: nothing is lost, nothing moves."""

import subprocess
import sys
from fractions import Fraction
from itertools import pairwise

import av
import cv2
import pytest

CLIPS = [
    "action_mpeg4.avi",
    "doctor_desk_540p.mp4",
    "office_gesture_again.mkv",
    "office_gesture_night.mkv",
    "seated_portrait_hevc_audio.mp4",
    "talking_512_audio.mp4",
    "talking_700_odd_rate_audio.mp4",
    "talking_720x1280.mp4",
    "thoughtful_outdoor_360p.mp4",
]


def frame_times(path):
    """Presentation times in seconds, and (matrix, range, sample aspect ratio) of the first frame."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        first = frames[0]
        # An unspecified range means limited; a container that must say something says so.
        tags = (int(first.colorspace), int(first.color_range) or 1, stream.sample_aspect_ratio or Fraction(1))
        return [frame.pts * frame.time_base if frame.pts is not None else None for frame in frames], tags


def audio(path):
    """Payloads and times in seconds of the audio's packets."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return [], []
        packets = [packet for packet in container.demux(audio=0) if packet.size]
        return [bytes(packet) for packet in packets], [packet.pts * packet.time_base for packet in packets]


@pytest.mark.slow
@pytest.mark.parametrize("name", CLIPS)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_every_clip_goes_through_whole(shared, tmp_path, name, suffix):
    clip, out = shared / "clips" / name, tmp_path / f"out{suffix}"
    command = [sys.executable, "-m", "streammatte", "video", str(clip), str(out), "--bg", "#203040"]
    done = subprocess.run([*command, "--size", "256", "--preset", "ultrafast"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (before, tags), (after, kept) = frame_times(clip), frame_times(out)
    assert len(after) == len(before)
    assert kept == tags
    # Matroska counts milliseconds; AVI has no presentation times, so there only the order is asked for.
    tolerance = Fraction(1, 1000) if suffix == ".mkv" else Fraction(0)
    if name.endswith(".avi"):
        assert all(a < b for a, b in pairwise(after))
    else:
        assert 0 <= after[0] <= (0 if suffix == ".mp4" else before[0])
        assert all(abs((a - after[0]) - (b - before[0])) <= tolerance for a, b in zip(after, before, strict=True))
    payloads, times = audio(clip)
    kept_payloads, kept_times = audio(out)
    assert kept_payloads == payloads
    if payloads and not name.endswith(".avi"):
        shifts = {(b - after[0]) - (a - before[0]) for a, b in zip(times, kept_times, strict=True)}
        assert max(abs(shift) for shift in shifts) <= Fraction(1, 500), "audio moved against the image"


@pytest.mark.slow
def test_a_second_decoder_agrees(shared, tmp_path):
    clip, out = shared / "clips" / "office_gesture_again.mkv", tmp_path / "out.mp4"
    command = [sys.executable, "-m", "streammatte", "video", str(clip), str(out), "--size", "256"]
    subprocess.run(command, check=True, capture_output=True)
    capture, count = cv2.VideoCapture(str(out)), 0
    while capture.read()[0]:
        count += 1
    assert count == len(frame_times(clip)[0])
