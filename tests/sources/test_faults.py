"""What cannot be read, and videos that break off."""

import http.server
import logging
import os
import socket
import tempfile
import threading
import time
from pathlib import Path

import av
import pytest
from support.videos import make_video, truncate

from streammatte.errors import SourceError, SourceNotFoundError, TruncatedSourceError, UnsupportedSourceError
from streammatte.sources import open_source


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


def read_all(path, **options):
    """(frames, error) of a video that breaks off."""
    seen = []
    source = open_source(path, **options)
    try:
        for frame in source.frames():
            seen.append(frame.pts)
    except TruncatedSourceError as error:
        return seen, str(error)
    return seen, None


def test_what_is_not_there(tmp_path):
    for spec in (tmp_path / "no.mp4", str(tmp_path / "no*.png"), str(tmp_path / "no_%04d.png")):
        with pytest.raises(SourceNotFoundError) as error:
            open_source(spec)
        assert "no" in one_line(error)


def test_what_is_no_video(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("This is not a video.\n" * 200)
    (tmp_path / "notes.txt").write_text("This is not a video.\n" * 200)
    (tmp_path / "noise.mkv").write_bytes(bytes(range(256)) * 100)
    (tmp_path / "folder").mkdir()
    for name, word in (
        ("empty.mp4", "empty"),
        ("text.mp4", "not a video"),
        ("notes.txt", "text file"),
        ("noise.mkv", "not a video"),
        ("folder", "no images"),
    ):
        with pytest.raises(UnsupportedSourceError, match=word) as error:
            open_source(tmp_path / name)
        assert name in one_line(error)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs Unix rights")
def test_what_may_not_be_read():
    with tempfile.TemporaryDirectory() as folder:
        path = make_video(Path(folder) / "a.mp4", frames=2)
        path.chmod(0)
        Path(folder).chmod(0o755)
        me = os.geteuid()
        if me == 0:
            os.seteuid(65534)
        try:
            with pytest.raises(SourceError, match="may not be read"):
                open_source(path)
        finally:
            os.seteuid(me)


def test_a_video_without_frames(tmp_path):
    path = make_video(tmp_path / "a.mkv", frames=2)
    data = path.read_bytes()
    at = data.find(b"\x1f\x43\xb6\x75")
    (tmp_path / "b.mkv").write_bytes(data[:at])
    with pytest.raises(UnsupportedSourceError):
        open_source(tmp_path / "b.mkv")


@pytest.mark.parametrize("name,flags", [
    ("a.mp4", "faststart"), ("a.mp4", "frag_keyframe+empty_moov"), ("a.mkv", ""), ("a.avi", ""),
])  # fmt: skip
@pytest.mark.parametrize("part", [0.3, 0.75])
def test_a_video_that_breaks_off(tmp_path, name, flags, part):
    codec = "mpeg4" if name == "a.avi" else "libx264"
    noisy = {"preset": "ultrafast", "crf": "1"} if codec == "libx264" else {"qmin": "1", "qmax": "1"}
    path = make_video(tmp_path / name, frames=100, codec=codec, options=noisy, gop=10)
    if flags:
        with av.open(str(path)) as video, av.open(str(tmp_path / "b.mp4"), "w", options={"movflags": flags}) as out:
            stream = out.add_stream_from_template(video.streams.video[0])
            for packet in video.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    out.mux(packet)
        path = tmp_path / "b.mp4"
    whole, error = read_all(path)
    assert len(whole) == 100
    assert error is None
    truncate(path, part)
    seen, error = read_all(path)
    if "empty_moov" in flags:
        assert seen == whole[: len(seen)]
        assert len(seen) < 100
        return
    assert 10 < len(seen) < 90
    assert seen == whole[: len(seen)]
    at = seen[-1] * float(open_source(path).info.time_base)
    assert "breaks off at 0:00:0" in error
    assert "\n" not in error
    assert abs(float(error.split("0:00:")[1][:4]) - at) < 0.15
    assert f"the {len(seen)} frames before" in error


def test_an_index_that_is_missing(tmp_path):
    path = truncate(make_video(tmp_path / "a.mp4", frames=30), 0.6)
    with pytest.raises(UnsupportedSourceError, match="cut off"):
        open_source(path)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_damage_in_the_middle_is_passed_over(tmp_path, caplog, name):
    caplog.set_level(logging.INFO)
    path = make_video(tmp_path / name, frames=60, gop=10, options={"preset": "ultrafast", "crf": "4"}, audio="libopus")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    for at in range(middle, middle + 1500):
        data[at] ^= 0x5A
    path.write_bytes(data)
    seen, error = read_all(path)
    assert error is None
    assert 40 <= len(seen) <= 60
    assert seen[-1] * open_source(path).info.time_base == pytest.approx(59 / 25, abs=0.002)
    assert "damaged" in caplog.text or "has no frame between" in caplog.text


@pytest.fixture
def server(tmp_path):
    """A web server of a folder; /stall answers and then says nothing more, /cut sends half of the video."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path))

        def do_GET(self):
            if self.path == "/silent":
                time.sleep(5)
                return
            if self.path in ("/stall.ts", "/cut.mp4"):
                data = (tmp_path / self.path[1:]).read_bytes()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data[: int(len(data) * 0.6)])
                self.wfile.flush()
                if self.path == "/stall.ts":
                    time.sleep(4)
                return
            super().do_GET()

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_video_over_http(tmp_path, server):
    make_video(tmp_path / "a.mp4", audio="aac")
    source = open_source(f"{server}/a.mp4")
    assert sum(1 for _ in source.frames()) == 20
    assert source.info.tracks.take()


def test_http_faults_say_what_is_wrong(server):
    with pytest.raises(SourceNotFoundError) as error:
        open_source(f"{server.replace('//', '//me:secret@')}/no.mp4")
    assert one_line(error).startswith(f"there is no {server}/...")
    assert "secret" not in str(error.value)
    with pytest.raises(SourceError, match=r"did not answer within 0\.5 s") as error:
        open_source(f"{server}/silent", timeout=0.5)
    one_line(error)


def test_a_refused_connection_says_so():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for scheme in ("http", "rtsp", "rtmp"):
        with pytest.raises(SourceError) as error:
            open_source(f"{scheme}://127.0.0.1:{port}/a", timeout=2)
        assert str(port) in one_line(error)


def test_an_unknown_protocol_says_so():
    with pytest.raises(UnsupportedSourceError, match="protocol"):
        open_source("gopher9://host/video.mp4")


def test_a_server_that_goes_silent_ends_the_video(tmp_path, server):
    make_video(
        tmp_path / "stall.ts", frames=100, container="mpegts", options={"preset": "ultrafast", "crf": "1"}, gop=10
    )
    seen, error = read_all(f"{server}/stall.ts", timeout=1.0)
    assert 10 < len(seen) < 90
    assert "breaks off" in error


def test_a_connection_that_breaks_ends_the_video(tmp_path, server):
    path = make_video(tmp_path / "cut.mkv", frames=100, options={"preset": "ultrafast", "crf": "1"}, gop=10)
    path.rename(tmp_path / "cut.mp4")
    seen, error = read_all(f"{server}/cut.mp4", timeout=2.0)
    assert 10 < len(seen) < 90
    assert "breaks off" in error


def test_nothing_is_printed_by_the_decoder(tmp_path, capfd, caplog):
    caplog.set_level(logging.CRITICAL)
    path = make_video(tmp_path / "a.mp4", frames=10, options={"preset": "ultrafast", "movflags": "faststart"})
    truncate(path, 0.9)
    with pytest.raises(SourceError):
        list(open_source(path).frames())
    printed = capfd.readouterr()
    assert printed.out == ""
