"""What may be opened: local names are paths, playlists stay in their folder, addresses are shown without secrets."""

import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest
from support.videos import make_video

from streammatte.errors import DeviceError, UnsupportedSourceError
from streammatte.media import container
from streammatte.media.container import shown_address
from streammatte.sources import open_source
from streammatte.sources.microphone import Microphone


@pytest.fixture
def clip(tmp_path):
    return make_video(tmp_path / "private.mp4", frames=5)


@pytest.mark.parametrize("name", ["12:30.mp4", "take:1.webm", "concat:x", "pipe:0.mkv", "file:a.mp4", "-x.mp4", "fd:0"])
def test_a_local_name_is_a_path_whatever_it_looks_like(clip, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    clip.rename(tmp_path / name)
    with closing(open_source(name)) as source:
        assert sum(1 for _ in source.frames()) == 5


@pytest.mark.parametrize("name", ["list.mp4", "list.txt", "list.ffconcat"])
@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("ffconcat version 1.0\nfile '{clip}'\n", "an ffconcat list"),
        ("\ufeff\nffconcat version 1.0\nfile '{clip}'\n", "an ffconcat list"),
        ("v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n", "an SDP"),
        ("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\n{clip}\n#EXT-X-ENDLIST\n", "an HLS playlist"),
        ("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n", "an HLS"),
        ('#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXT-X-MAP:URI="../private.mp4"\n#EXTINF:1,\na.ts\n', "an HLS"),
    ],
)
def test_a_text_that_plays_other_files_is_refused(clip, tmp_path, name, text, kind):
    folder = tmp_path / "given"
    folder.mkdir()
    (folder / name).write_text(text.format(clip=clip), encoding="utf-8")
    with pytest.raises(UnsupportedSourceError, match=f"is {kind}.*pass --allow-playlists"):
        open_source(folder / name)


def test_a_playlist_of_its_own_folder_is_played(tmp_path):
    make_video(tmp_path / "a.ts", container="mpegts", frames=25)
    text = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.0,\na.ts\n#EXT-X-ENDLIST\n"
    (tmp_path / "list.m3u8").write_text(text)
    with closing(open_source(tmp_path / "list.m3u8")) as source:
        assert sum(1 for _ in source.frames()) == 25


def test_a_trusted_list_is_played(clip, tmp_path):
    (tmp_path / "list.ffconcat").write_text(f"ffconcat version 1.0\nfile {clip.name}\nfile {clip.name}\n")
    with closing(open_source(tmp_path / "list.ffconcat", allow_playlists=True)) as source:
        assert sum(1 for _ in source.frames()) == 10


def test_huge_dimensions_in_a_header_are_refused(clip):
    with pytest.raises(UnsupportedSourceError, match="more than the 0 megapixels that --max-pixels"):
        open_source(clip, max_megapixels=0)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtmp://me:secret@live.example.org/app/KEY?token=x", "rtmp://live.example.org/app/..."),
        ("https://example.org:8443/video.mp4?token=x", "https://example.org:8443/..."),
        ("rtsp://example.org/", "rtsp://example.org/"),
        ("srt://example.org:9000?passphrase=secret", "srt://example.org:9000/"),
    ],
)
def test_addresses_are_shown_without_secrets(address, shown):
    assert shown_address(address) == shown


def test_an_mp4_with_its_index_at_the_end_on_a_pipe_says_that_a_pipe_cannot_be_searched(tmp_path):
    path = make_video(tmp_path / "a.mp4", frames=100, width=320, height=240)
    data = path.read_bytes()
    assert data.index(b"mdat") < data.index(b"moov")
    code = "from streammatte.sources import open_source; open_source('-')"
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True)
    assert b"a pipe cannot be searched" in done.stderr


class Redirecting(http.server.BaseHTTPRequestHandler):
    """``/hop`` sends on to ``/video``, ``/in`` to a name of this machine, anything else is the video."""

    video = b""

    def do_GET(self):
        if self.path in ("/hop", "/in"):
            host = "localhost" if self.path == "/in" else "127.0.0.1"
            self.send_response(302)
            self.send_header("Location", f"http://{host}:{self.server.server_port}/video")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.video)))
        self.end_headers()
        self.wfile.write(self.video)

    def log_message(self, *args):
        pass


def test_a_server_may_redirect_but_not_to_this_machine(clip, monkeypatch):
    monkeypatch.setattr(Redirecting, "video", clip.read_bytes())
    monkeypatch.setattr(container, "is_own_host", lambda host: host == "localhost")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Redirecting)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    for path in ("/video", "/hop"):
        with closing(open_source(address + path)) as source:
            assert sum(1 for _ in source.frames()) == 5
    with pytest.raises(UnsupportedSourceError, match=r"redirects to http://localhost.*--allow-playlists"):
        open_source(address + "/in")
    with closing(open_source(address + "/in", allow_playlists=True)) as source:
        assert sum(1 for _ in source.frames()) == 5
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("host", "own"), [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", True), ("192.0.2.7", False)]
)
def test_which_hosts_are_this_machine(host, own):
    assert container.is_own_host(host) is own


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_ends_the_wait_for_a_silent_server_at_once(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a.mp4"
        command = [sys.executable, "-m", "streammatte", "video", address, str(tmp_path / "out.mp4"), "--timeout", "60"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        connection, _ = server.accept()
        time.sleep(0.5)  # the main thread waits by now
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        assert process.wait(timeout=20) == 130
        connection.close()
        assert time.monotonic() - began < 5
    assert list(tmp_path.iterdir()) == []


def test_a_background_waits_no_longer_than_the_timeout(tmp_path, clip):
    from streammatte.build import build_background
    from streammatte.errors import BackgroundError

    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a.mp4"
        began = time.monotonic()
        with pytest.raises(BackgroundError, match=r"did not answer within 0\.5 s"):
            build_background(address, "cover", timeout=0.5)
        assert time.monotonic() - began < 5


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names")
def test_a_pipe_as_background_is_refused(tmp_path):
    from streammatte.build import build_background
    from streammatte.errors import BackgroundError

    os.mkfifo(tmp_path / "a.mp4")
    with pytest.raises(BackgroundError, match="is a pipe"):
        build_background(str(tmp_path / "a.mp4"), "cover")


def test_a_microphone_is_no_list_of_other_files_and_no_address(clip, tmp_path):
    (tmp_path / "mic.wav").write_text(f"ffconcat version 1.0\nfile '{clip}'\n")
    with pytest.raises(DeviceError, match="is an ffconcat list"):
        Microphone(str(tmp_path / "mic.wav"))
    with pytest.raises(DeviceError) as error:
        Microphone("http://me:secret@example.org/a.wav?token=secret")
    assert "secret" not in str(error.value)
