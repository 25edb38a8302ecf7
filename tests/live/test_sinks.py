"""Sinks of live sessions: the virtual camera, recordings, streams, previews."""

import contextlib
import socket
import threading
import time
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from support.live import COLOR, HEIGHT, MICRO, WIDTH, EyeSink, RoomCamera, pipeline, room, runs

from streammatte.errors import DeviceError, OutputExistsError, SinkError, UnsupportedOutputError
from streammatte.frames import Frame, Layout, StreamInfo
from streammatte.media.convert import PixelConverter
from streammatte.sinks.mjpeg import HttpPreviewSink
from streammatte.sinks.record import RecordSink
from streammatte.sinks.stream import StreamSink
from streammatte.sinks.virtual_camera import VirtualCameraSink
from streammatte.sinks.window import PreviewSink
from streammatte.tracks import AudioFeed, AudioPiece

INFO = StreamInfo(WIDTH, HEIGHT, Layout.YUV420, MICRO, Fraction(30), COLOR)


def frame(index, pts=None, captured=None):
    pts = round(index / 30 / MICRO) if pts is None else pts
    return Frame(room(index), Layout.YUV420, pts, MICRO, COLOR, index, captured=captured)


class Backend:
    """A pyvirtualcam backend that remembers; ``native`` is the format it would rather have."""

    native, made = None, []

    def __init__(self, *, width, height, fps, fourcc, device, **kw):
        self.arguments, self.sent, self.closed = (width, height, fps, fourcc, device), [], False
        Backend.made.append(self)

    def send(self, pixels):
        self.sent.append(pixels.copy())

    def close(self):
        self.closed = True

    def device(self):
        return "remembering camera"

    def native_fourcc(self):
        from pyvirtualcam.util import encode_fourcc

        return None if Backend.native is None else encode_fourcc(Backend.native)


@pytest.fixture
def backend(monkeypatch):
    pyvirtualcam = pytest.importorskip("pyvirtualcam")
    monkeypatch.setattr(pyvirtualcam.camera, "BACKENDS", {})
    pyvirtualcam.register_backend("memory", Backend)
    Backend.native, Backend.made = None, []
    return Backend


def test_virtual_camera_shows_rgb(backend):
    sink = VirtualCameraSink()
    sink.open(INFO)
    sink.process(frame(0))
    sink.close()
    sink.close()
    camera = backend.made[-1]
    assert camera.arguments[:3] == (WIDTH, HEIGHT, 30.0)
    assert camera.closed
    shown = camera.sent[0].reshape(HEIGHT, WIDTH, 3)
    assert np.array_equal(shown, PixelConverter("rgb24").array(frame(0)))
    assert shown[..., 0].mean() > shown[..., 1].mean() + 40


@pytest.mark.parametrize(("native", "chroma"), [("I420", "planes"), ("NV12", "pairs")])
def test_virtual_camera_takes_yuv_as_it_is(backend, native, chroma):
    backend.native = native
    sink = VirtualCameraSink("cam1")
    sink.open(INFO)
    sink.process(frame(3))
    sink.close()
    first, second = backend.made
    assert first.closed
    assert second.closed
    y, u, v = room(3)
    expected = [u, v] if chroma == "planes" else [np.stack([u, v], -1)]
    assert np.array_equal(second.sent[0], np.concatenate([plane.reshape(-1) for plane in (y, *expected)]))


def test_full_range_becomes_what_cameras_are_taken_for():
    full = Frame(room(0), Layout.YUV420, 0, MICRO, COLOR.__class__(6, 6, 6, True))
    luma = PixelConverter("yuv420p").array(full)[: WIDTH * HEIGHT]
    assert set(np.unique(luma)) <= set(range(140, 150)) | set(range(195, 202))


def test_virtual_camera_that_is_not_there_tells_the_way(monkeypatch):
    pyvirtualcam = pytest.importorskip("pyvirtualcam")
    monkeypatch.setattr(pyvirtualcam.camera, "BACKENDS", {})
    with pytest.raises(DeviceError, match="streammatte doctor"):
        VirtualCameraSink().open(INFO)


def test_a_session_into_a_virtual_camera(backend):
    pipeline(RoomCamera(frames=15), [("virtual-camera", VirtualCameraSink())]).run()
    seen = [image.reshape(HEIGHT, WIDTH, 3) for image in backend.made[0].sent]
    assert [kind for kind, _ in runs(seen)] == ["hold", "matted", "hold"]
    assert backend.made[0].closed


def test_preview_says_where_there_is_no_display(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(SinkError, match=r"no display.*--preview-http"):
        PreviewSink().open(INFO)


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.mov"])
def test_recording_keeps_true_times(tmp_path, name):
    target = tmp_path / name
    sink = RecordSink(target)
    sink.open(INFO)
    moments = [0, 33_000, 66_000, 200_000, 233_000, 1_500_000]  # a camera that stumbles
    for index, pts in enumerate(moments):
        sink.process(frame(index, pts))
    sink.drain()
    sink.close()
    with av.open(str(target)) as video:
        times = [image.time for image in video.decode(video=0)]
    assert times == pytest.approx([moment / 1e6 for moment in moments], abs=0.0006)


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_recording_is_playable_while_it_is_written(tmp_path, name):
    target = tmp_path / name
    sink = RecordSink(target)
    sink.open(INFO)
    for index in range(95):
        sink.process(frame(index))
    with av.open(str(target)) as video:
        count = sum(1 for _ in video.decode(video=0))
    sink.abort()
    assert count >= 60


def test_recording_has_the_audio_where_it_belongs(tmp_path):
    target, feed = tmp_path / "out.mp4", AudioFeed(48_000, 1)
    sink = RecordSink(target, feed=feed)
    sink.open(INFO)
    start = time.monotonic()
    beep = np.zeros((1, 48_000 * 2), np.float32)
    beep[0, 48_000 : 48_000 + 9600] = np.sin(np.arange(9600) / 8)
    for piece in range(200):  # recorded alongside, in pieces of 10 ms
        feed.put(AudioPiece(beep[:, piece * 480 : piece * 480 + 480], start + piece / 100))
    for index in range(60):
        sink.process(frame(index, captured=start + index / 30))
    sink.drain()
    sink.close()
    with av.open(str(target)) as video:
        stream = video.streams.audio[0]
        heard = [(part.time, np.abs(part.to_ndarray()).max()) for part in video.decode(stream)]
    loud = [moment for moment, level in heard if level > 0.3]
    assert min(loud) == pytest.approx(1.0, abs=0.05)
    assert max(loud) == pytest.approx(1.2, abs=0.05)


def test_recording_refuses_what_is_there(tmp_path):
    target = tmp_path / "out.mp4"
    target.write_bytes(b"mine")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        RecordSink(target).open(INFO)
    assert target.read_bytes() == b"mine"
    with pytest.raises(UnsupportedOutputError, match=r"\.mp4"):
        RecordSink(tmp_path / "out.avi")
    with pytest.raises(SinkError, match="no folder"):
        RecordSink(tmp_path / "none" / "out.mp4").open(INFO)


def test_stream_reaches_a_server_and_comes_back_after_a_break(tmp_path):
    """A TCP server that closes its first connection in the middle; MPEG-TS needs no more protocol than that."""
    server = socket.create_server(("127.0.0.1", 0))
    received: list[bytes] = []

    def serve():
        for most in (20_000, 10_000_000):
            connection, _ = server.accept()
            data = b""
            while len(data) < most and (part := connection.recv(65536)):
                data += part
            received.append(data)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    now = [0.0]
    sink = StreamSink(f"tcp://127.0.0.1:{server.getsockname()[1]}", clock=lambda: now[0])
    sink.open(INFO)
    # the stream has a process of its own, which starts when it starts: frames come until the second connection is there
    deadline, index, after = time.monotonic() + 60, 0, 0
    while after < 300 and time.monotonic() < deadline:
        now[0] += 1 / 30
        sink.process(frame(index))
        index += 1
        after += sink.connects >= 2
        time.sleep(0.001)
    sink.drain()
    sink.close()
    thread.join(20)
    server.close()
    assert sink.connects >= 2
    assert sink.lost > 0
    target = tmp_path / "received.ts"
    target.write_bytes(received[-1])
    with av.open(str(target)) as video:
        assert sum(1 for _ in video.decode(video=0)) > 30


def test_stream_by_a_protocol_that_this_build_lacks_fails_at_once():
    try:
        av.open("srt://127.0.0.1:9", timeout=0.1).close()
    except av.error.ProtocolNotFoundError:
        pass
    except av.error.FFmpegError:
        pytest.skip("this build of FFmpeg has SRT")
    with pytest.raises(UnsupportedOutputError, match="does not know the protocol srt"):
        StreamSink("srt://127.0.0.1:9").open(INFO)


@pytest.mark.slow
def test_stream_without_a_server_only_loses_frames():
    sink = StreamSink("tcp://127.0.0.1:9", timeout=1)
    sink.open(INFO)
    deadline = time.monotonic() + 60
    index = 0
    while not sink.lost and time.monotonic() < deadline:
        sink.process(frame(index))
        index += 1
        time.sleep(0.01)
    assert sink.lost
    with pytest.raises(SinkError, match=r"tcp://127\.0\.0\.1:9/ was never reached \(Connection refused\)"):
        sink.drain()
    sink.close()
    with pytest.raises(UnsupportedOutputError, match="rtmp"):
        StreamSink("gopher://x")


@pytest.mark.slow
def test_stream_by_rtmp(tmp_path):
    """FFmpeg itself listens as an RTMP server."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"rtmp://127.0.0.1:{free.getsockname()[1]}/live/x"
    got = []

    def serve():
        with contextlib.suppress(av.error.FFmpegError), av.open(url, options={"listen": "1"}, timeout=60) as video:
            for image in video.decode(video=0):
                got.append(image.time)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    time.sleep(0.5)
    sink = StreamSink(url, timeout=20)
    sink.open(INFO)
    for index in range(150):
        sink.process(frame(index))
        time.sleep(0.01)
    sink.drain()
    sink.close()
    thread.join(60)
    assert sink.connects == 1
    assert len(got) > 60
    assert got == sorted(got)


def test_server_that_never_answers_stops_nobody_else():
    """An RTMP handshake that hangs keeps Python's global lock: it must not be this process's."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        eye = EyeSink()
        stream = StreamSink(f"rtmp://127.0.0.1:{server.getsockname()[1]}/live/x", timeout=30)
        session = pipeline(RoomCamera(), [("eye", eye), ("stream", stream)])
        threading.Thread(target=lambda: (wait_for(lambda: len(eye.seen) > 60), session.stop()), daemon=True).start()
        with pytest.raises(SinkError, match="never reached"):
            session.run()
    assert session.unfinished == ()
    assert "UNMATTED" not in dict(runs(eye.seen))
    assert stream._pipe is None


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)


def test_preview_encodes_nothing_while_nobody_looks():
    sink = HttpPreviewSink()
    sink.process(frame(0))
    assert sink.number == 0


def test_record_and_camera_at_once_with_true_times(tmp_path):
    target: Path = tmp_path / "out.mkv"
    status = pipeline(RoomCamera(frames=30), [("record", RecordSink(target))]).run()
    with av.open(str(target)) as video:
        images = [image.to_ndarray(format="rgb24") for image in video.decode(video=0)]
        video.seek(0)
        times = [image.time for image in video.decode(video=0)]
    assert len(images) == status.frames
    assert all(a < b for a, b in pairwise(times))
    assert times[-1] == pytest.approx(29 / 30, abs=0.2)
