"""Cameras and other live sources. FFmpeg's lavfi device stands for a camera: a real live input, without hardware."""

import errno
import http.server
import itertools
import struct
import threading
import time
from fractions import Fraction

import av
import numpy as np
import pytest
from support.videos import make_video

from streammatte.errors import DeviceError, SourceNotFoundError
from streammatte.frames import Layout
from streammatte.sources import v4l2
from streammatte.sources.camera import CameraSource, negotiate, open_camera
from streammatte.sources.devices import Camera, find_camera
from streammatte.sources.factory import open_source
from streammatte.sources.live_factory import open_live_source
from streammatte.sources.microphone import Microphone
from streammatte.sources.paced import PacedSource
from streammatte.sources.reconnect import ReconnectingSource
from streammatte.sources.synthetic import SyntheticSource


def lavfi(graph="testsrc=size=96x64:rate=30,format=yuv420p"):
    return CameraSource(negotiate("lavfi", graph, "test", None, None), "test camera")


def test_camera_gives_frames_with_the_moment_of_capture():
    camera = lavfi()
    frames = [frame for frame, _ in zip(camera.frames(), range(5), strict=False)]
    camera.close()
    assert camera.info.layout is Layout.YUV420
    assert (camera.info.width, camera.info.height) == (96, 64)
    assert "96x64 30 fps" in camera.got
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert all(a.pts < b.pts for a, b in itertools.pairwise(frames))
    assert all(abs(time.monotonic() - frame.captured) < 30 for frame in frames)


def test_camera_without_images_is_refused():
    with pytest.raises(DeviceError, match="gives no images"):
        CameraSource(av.open("sine=frequency=440", format="lavfi"), "test camera")


def test_camera_that_cannot_be_opened_tells_every_attempt():
    with pytest.raises(DeviceError, match="cannot open camera Desk"):
        negotiate("v4l2", "/dev/null", "Desk", (640, 480), 30)


def test_size_that_a_device_lacks_is_not_insisted_on():
    camera = CameraSource(negotiate("lavfi", "testsrc=size=64x48:rate=5", "test", (640, 480), None), "test")
    assert (camera.info.width, camera.info.height, camera.info.rate) == (64, 48, 5)
    camera.close()


@pytest.mark.parametrize("spec", ["7", "Desk", "/dev/video99"])
def test_camera_that_is_not_there_is_a_device_error(spec):
    with pytest.raises(DeviceError, match=r"there is no camera"):
        open_camera(spec)


def test_camera_by_index_and_name():
    known = [Camera(0, "Desk cam", "/dev/video0"), Camera(2, "Face cam", "/dev/video2")]
    assert find_camera("2", known).name == "Face cam"
    assert find_camera("desk", known).index == 0
    with pytest.raises(DeviceError, match="fits several"):
        find_camera("cam", known)
    with pytest.raises(DeviceError, match="0 \\(Desk cam\\), 2 \\(Face cam\\)"):
        find_camera("1", known)


def test_modes_of_a_camera_as_the_kernel_tells_them(monkeypatch, tmp_path):
    """The kernel's answers, packed by hand as linux/videodev2.h has them."""
    fcntl = pytest.importorskip("fcntl")
    pytest.importorskip("linuxpy")
    sizes, rates = [(1280, 720), (640, 480)], [30, 15]

    def ioctl(handle, request, buffer):
        number, size = request & 0xFF, request >> 16 & 0x3FFF
        index = struct.unpack_from("I", buffer)[0]
        if number == 0:
            assert size == 104
            struct.pack_into("16s32s32sIII", buffer, 0, b"uvcvideo", b"Desk cam", b"usb", 0, 0x84A00001, 0x04200001)
        elif number == 2 and index == 0:
            assert size == 64
            struct.pack_into("III32sI", buffer, 0, 0, 1, 1, b"Motion-JPEG", int.from_bytes(b"MJPG", "little"))
        elif number == 74 and index < 2:
            assert size == 44
            struct.pack_into("III2I", buffer, 0, index, 0, 1, *sizes[index])
        elif number == 75 and index < 2:
            assert size == 52
            struct.pack_into("I", buffer, 16, 1)
            struct.pack_into("2I", buffer, 20, 1, rates[index])
        else:
            raise OSError(errno.EINVAL, "no more")

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    node = tmp_path / "video0"
    node.touch()
    assert v4l2.capabilities(node) == ("uvcvideo", "Desk cam", 0x04200001)
    assert [str(mode) for mode in v4l2.modes(node)] == ["MJPG 1280x720 30, 15 fps", "MJPG 640x480 30, 15 fps"]


@pytest.mark.parametrize(("count", "refused"), [(0, None), (1, None), (0, errno.ENOTTY), (0, errno.EINVAL)])
def test_programs_that_take_images_as_the_driver_counts_them(monkeypatch, tmp_path, count, refused):
    """v4l2loopback answers a new subscriber with the present number; other drivers refuse the event."""
    fcntl = pytest.importorskip("fcntl")
    pytest.importorskip("linuxpy")
    usage = 0x10E00001

    def ioctl(handle, request, buffer):
        number = request & 0xFF
        if refused is not None:
            raise OSError(refused, "not this event")
        if number == 90:
            assert struct.unpack_from("III", buffer) == (usage, 0, 1)  # with the present state, please
        else:
            assert number == 89
            struct.pack_into("I", buffer, 0, usage)
            struct.pack_into("I", buffer, 8, count)

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    node = tmp_path / "video0"
    node.touch()
    assert v4l2.capture_clients(node) == (None if refused else count)
    assert v4l2.capture_clients(tmp_path / "missing") is None


def test_video_at_its_own_pace(tmp_path):
    path = make_video(tmp_path / "video.mp4", frames=12, rate=24)
    times = [frame.pts * frame.time_base for frame in open_source(path).frames()]
    source = open_live_source(str(path))
    began = time.monotonic()
    frames, arrived = [], []
    for frame in source.frames():
        arrived.append(time.monotonic())
        frames.append(frame)
    source.close()
    assert [frame.pts * frame.time_base for frame in frames] == times
    assert time.monotonic() - began >= 11 / 24
    assert all(moment >= frame.captured for moment, frame in zip(arrived, frames, strict=True))


def test_loop_goes_on_in_time(tmp_path):
    path = make_video(tmp_path / "video.mp4", frames=4, rate=50)
    source = open_live_source(str(path), loop=True)
    frames = [frame for frame, _ in zip(source.frames(), range(10), strict=False)]
    source.close()
    times = [frame.pts * frame.time_base for frame in frames]
    assert [b - a for a, b in itertools.pairwise(times)] == [Fraction(1, 50)] * 9
    assert [frame.index for frame in frames] == list(range(10))


def test_still_image_is_a_camera_that_never_ends(tmp_path):
    from PIL import Image

    Image.new("RGB", (64, 48), (200, 30, 30)).save(tmp_path / "still.png")
    source = open_live_source(str(tmp_path / "still.png"), rate=100, duration=0.2)
    frames = list(source.frames())
    assert len(frames) == 20
    assert (source.info.width, source.info.height) == (64, 48)


def test_video_is_scaled_to_the_size_that_was_requested(tmp_path):
    path = make_video(tmp_path / "video.mp4", width=96, height=64, frames=3)
    source = open_live_source(str(path), width=48, height=32)
    frame = next(iter(source.frames()))
    assert (source.info.width, frame.width, frame.planes[1].shape) == (48, 48, (16, 24))
    source.interrupt()
    source.close()


def test_interrupt_ends_the_wait_for_the_next_frame():
    source = PacedSource(lambda: SyntheticSource(64, 48, rate=Fraction(1, 60), frames=3))
    threading.Timer(0.2, source.interrupt).start()
    began = time.monotonic()
    assert len(list(source.frames())) == 1
    assert time.monotonic() - began < 30


def test_video_that_is_not_there(tmp_path):
    with pytest.raises((SourceNotFoundError, DeviceError), match="there is no"):
        open_live_source(str(tmp_path / "missing.mp4"))


class OtherSize:
    """Two frames, then gone."""

    def __init__(self, width, height):
        self._inside = SyntheticSource(width, height, rate=100, frames=2)
        self.info = self._inside.info

    def frames(self):
        yield from self._inside.frames()
        raise DeviceError("gone")

    def close(self):
        pass


def test_camera_that_comes_back_otherwise_keeps_size_and_time():
    sizes = [(96, 64), (64, 48), (96, 64)]
    lost = []
    source = ReconnectingSource(lambda: OtherSize(*sizes.pop(0)), longest_wait=0.05)
    source.on_lost = lambda: lost.append(True)
    frames = []
    for frame in source.frames():
        frames.append(frame)
        if len(frames) == 6:
            source.interrupt()
    assert [(frame.width, frame.height) for frame in frames] == [(96, 64)] * 6
    assert all(a.pts < b.pts for a, b in itertools.pairwise(frames))
    assert [frame.index for frame in frames] == list(range(6))
    assert len(lost) == 2
    gap = float((frames[2].pts - frames[1].pts) * frames[1].time_base)
    assert gap == pytest.approx(frames[2].captured - frames[1].captured, abs=0.02)


class _Mjpeg(http.server.BaseHTTPRequestHandler):
    """A network camera that breaks off after some images, and again and again."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=b")
        self.end_headers()
        for _ in range(30):
            image = self.server.image
            self.wfile.write(b"--b\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(image))
            self.wfile.write(image + b"\r\n")
            time.sleep(0.005)

    def log_message(self, *_):
        pass


def test_network_camera_is_connected_again():
    import cv2

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Mjpeg)
    image = np.tile(np.arange(96, dtype=np.uint8), (64, 1))
    server.image = cv2.imencode(".jpg", cv2.merge([image] * 3))[1].tobytes()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        source = open_live_source(f"http://127.0.0.1:{server.server_port}/cam.mjpg", timeout=5)
        assert isinstance(source, ReconnectingSource)
        for count, frame in enumerate(source.frames()):
            assert (frame.width, frame.height) == (96, 64)
            if source.reconnects and count > 40:
                source.interrupt()
        source.close()
        assert source.reconnects >= 1
    finally:
        server.shutdown()
        server.server_close()


def test_microphone_of_a_file_comes_at_its_own_pace(tmp_path):
    path = make_video(tmp_path / "video.mkv", frames=10, audio="aac", audio_seconds=0.5)
    microphone = Microphone(str(path))
    feed = microphone.feed()
    began = time.monotonic()
    microphone.run()
    assert time.monotonic() - began >= 0.4
    pieces = feed.take(float("inf"))
    samples = np.concatenate([piece.samples for piece in pieces], axis=1)
    assert samples.shape[0] == feed.channels
    assert samples.shape[1] == pytest.approx(0.5 * feed.rate, rel=0.1)
    assert np.abs(samples).max() > 0.1
    assert all(a.captured < b.captured for a, b in itertools.pairwise(pieces))


def test_microphone_that_is_not_there():
    with pytest.raises(DeviceError, match="cannot open the microphone"):
        Microphone("no such microphone")


def test_video_without_audio_is_no_microphone(tmp_path):
    path = make_video(tmp_path / "video.mp4", frames=3)
    with pytest.raises(DeviceError, match="has no audio"):
        Microphone(str(path))
