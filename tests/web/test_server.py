"""HTTP: what is answered, and what is refused to whom. Every hostile request is written out."""

import http.client
import json
import socket
import ssl
import threading
import time

import cv2
import numpy as np
import pytest
from support.live import COLOR, HEIGHT, MICRO, WIDTH, room

from streammatte.errors import ConfigError, DeviceError
from streammatte.frames import Frame, Layout
from streammatte.live.settings import SettingsStore
from streammatte.sinks.mjpeg import HttpPreviewSink
from streammatte.web import WebServer, parse_address, policy
from streammatte.web import server as web_server
from streammatte.web.app import PAGE_HASHES, make_app
from streammatte.web.certificate import tls_context

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("text", ["127.0.0.1:0", "localhost:8090", "[::1]:8090", ":8090"])
def test_addresses_of_this_machine(text):
    assert parse_address(text, "--control", allow_remote=False)[1] in (0, 8090)


@pytest.mark.parametrize("text", ["0.0.0.0:8090", "192.168.1.2:80", "[::]:80", "example.org:80"])
def test_other_addresses_need_allow_remote(text):
    with pytest.raises(ConfigError, match="--allow-remote"):
        parse_address(text, "--control", allow_remote=False)
    assert parse_address(text, "--control", allow_remote=True)[1] > 0


@pytest.mark.parametrize("text", ["8090x", "127.0.0.1", "127.0.0.1:99999", "", "127.0.0.1:\u00b2", "127.0.0.1:\u0663"])
def test_what_is_no_address(text):
    with pytest.raises(ConfigError, match="HOST:PORT"):
        parse_address(text, "--control", allow_remote=True)


@pytest.fixture
def serve():
    made = []

    def start(app, address=("127.0.0.1", 0), token=None, tls=None):
        running = WebServer(address, app, token, tls, PAGE_HASHES)
        running.start()
        made.append(running)
        return running

    yield start
    for running in made:
        running.close()


@pytest.fixture
def control(serve):
    """A server of settings; ``control.store`` holds them."""
    store = SettingsStore(["a.jpg", "b.jpg"])
    running = serve(make_app(store, lambda: {"frames": 7}))
    running.store = store
    return running


@pytest.fixture
def preview(serve):
    """A server of images that come a hundred times a second."""
    sink, stop = HttpPreviewSink(), threading.Event()

    def feed():
        index = 0
        while not stop.wait(0.01):
            sink.process(Frame(room(index), Layout.YUV420, index, MICRO, COLOR, index))
            index += 1

    threading.Thread(target=feed, daemon=True).start()
    yield serve(make_app(images=sink))
    stop.set()
    sink.close()


def ask(running, method, path, body=None, headers=None, token=True):
    """Status, body and headers of a request with the token, unless ``token`` is false."""
    connection = http.client.HTTPConnection("127.0.0.1", running.address[1], timeout=10)
    shown = {"Authorization": f"Bearer {running.token}"} if token else {}
    connection.request(method, path, body, shown | (headers or {}))
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.headers


def post(running, length, body):
    """The bytes of a request whose declared length may be anything."""
    head = ["POST /set HTTP/1.1", f"Host: 127.0.0.1:{running.address[1]}", f"Authorization: Bearer {running.token}"]
    head += ["Content-Type: application/json", f"Content-Length: {length}", "", body]
    return "\r\n".join(head).encode()


def test_settings_are_changed_and_refused(control):
    assert json.loads(ask(control, "GET", "/status")[1]) == {"frames": 7}
    body = b'{"background": "b.jpg", "blur": true}'
    assert ask(control, "POST", "/set", body, JSON)[0] == 200
    assert (control.store.current.background, control.store.current.blur) == (1, True)
    status, said, _ = ask(control, "POST", "/set", b'{"mirror": true, "background": 5}', JSON)
    assert status == 400
    assert "0 to 1" in json.loads(said)["error"]
    assert control.store.current.mirror is False
    assert ask(control, "POST", "/set", b" " * 5000, JSON)[0] == 413
    assert ask(control, "GET", "/set")[0] == 405
    assert ask(control, "GET", "/other")[0] == 404


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b"{}", b"5", b"[" * 4000, b'{"edge": 1e400}', b'{"edge": NaN}', b'{"edge": "\xc2\xb2"}', b"\xff"],
)
def test_bodies_that_are_no_settings(control, body):
    before = control.store.current
    status, said, _ = ask(control, "POST", "/set", body, JSON)
    assert status == 400
    assert json.loads(said)["error"]
    assert control.store.current == before


@pytest.mark.parametrize("length", ["\u00b2", "-1", "1e3", "99999999999999999999999", ""])
def test_lengths_that_are_no_numbers(control, length):
    with socket.create_connection(control.address, timeout=10) as client:
        client.sendall(post(control, length, "{}"))
        answer = client.recv(65536)
    assert answer == b"" or 400 <= int(answer.split()[1]) < 500
    assert ask(control, "GET", "/status")[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "null"},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1:1"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "[::1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_pages_of_other_sites_are_refused_on_every_path(control, headers):
    for method, path, body in (("POST", "/set", b'{"mirror": true}'), ("GET", "/status", None)):
        assert ask(control, method, path, body, JSON | headers)[0] in (400, 403)
    assert control.store.current.mirror is False


def test_an_image_cannot_be_embedded_by_another_site(preview):
    for path in ("/stream.mjpg", "/snapshot.jpg"):
        assert ask(preview, "GET", path, headers={"Sec-Fetch-Site": "cross-site"})[0] == 403
        assert ask(preview, "GET", path, token=False)[0] == 401
    headers = ask(preview, "GET", "/snapshot.jpg")[2]
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


def test_the_own_page_is_allowed(control):
    own = f"http://127.0.0.1:{control.address[1]}"
    headers = JSON | {"Origin": own, "Sec-Fetch-Site": "same-origin"}
    assert ask(control, "POST", "/set", b'{"mirror": true}', headers)[0] == 200


@pytest.mark.parametrize("shown", ["", "Bearer wrong", "Bearer \u00b2", "Basic x"])
def test_a_token_is_needed_on_this_machine_too(control, shown):
    headers = {"Authorization": shown.encode("latin-1")}
    for method, path in (("GET", "/status"), ("POST", "/set"), ("GET", f"/status?token={control.token}")):
        assert ask(control, method, path, b"{}" if method == "POST" else None, JSON | headers, token=False)[0] == 401


def test_a_cookie_takes_the_place_of_the_token(preview):
    assert ask(preview, "POST", "/session", token=False)[0] == 401
    status, _, headers = ask(preview, "POST", "/session")
    assert status == 204
    cookie = headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    got = ask(preview, "GET", "/snapshot.jpg", headers={"Cookie": cookie.partition(";")[0]}, token=False)
    assert got[0] == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None])
def test_bodies_are_json_by_their_type(control, kind):
    headers = {} if kind is None else {"Content-Type": kind}
    assert ask(control, "POST", "/set", b'{"mirror": true}', headers)[0] == 415
    assert control.store.current.mirror is False


def test_preview(preview):
    status, page, _ = ask(preview, "GET", "/", token=False)
    assert status == 200 and b"stream.mjpg" in page and preview.token.encode() not in page
    status, image, _ = ask(preview, "GET", "/snapshot.jpg")
    assert status == 200
    assert cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR).shape == (HEIGHT, WIDTH, 3)
    connection = http.client.HTTPConnection(*preview.address, timeout=10)
    connection.request("GET", "/stream.mjpg", headers={"Authorization": f"Bearer {preview.token}"})
    answer = connection.getresponse()
    assert "multipart/x-mixed-replace" in answer.getheader("Content-Type")
    assert answer.read(20_000).count(b"--frame") >= 2
    connection.close()
    assert ask(preview, "POST", "/", b"", JSON)[0] == 405
    assert ask(preview, "GET", "/../etc/passwd")[0] == 404


def test_streams_have_places_of_their_own(preview, monkeypatch):
    monkeypatch.setattr(policy, "MAX_STREAMS", 2)
    shown = {"Authorization": f"Bearer {preview.token}"}
    watching = [http.client.HTTPConnection(*preview.address, timeout=10) for _ in range(2)]
    for connection in watching:
        connection.request("GET", "/stream.mjpg", headers=shown)
        assert connection.getresponse().status == 200
    assert ask(preview, "GET", "/stream.mjpg")[0] == 503
    assert ask(preview, "GET", "/snapshot.jpg")[0] == 200
    for connection in watching:
        connection.sock.close() if connection.sock else None
        connection.close()


def test_clients_that_send_a_byte_now_and_then_lock_nobody_out(control, monkeypatch):
    monkeypatch.setattr(web_server, "DEADLINE", 1.0)
    slow = [socket.create_connection(control.address, timeout=20) for _ in range(40)]
    for client in slow:
        client.sendall(b"GET /status HTTP/1.1\r\nHost: ")
    for _ in range(3):
        assert ask(control, "GET", "/status")[0] == 200
        for client in slow:
            client.sendall(b"a")
        time.sleep(0.1)
    began = time.monotonic()
    for client in slow:
        with pytest.raises((ConnectionError, AssertionError)):
            assert client.recv(1) != b""
    assert time.monotonic() - began < 10
    assert ask(control, "GET", "/status")[0] == 200


def test_a_body_that_does_not_come_ends_at_the_deadline(control, monkeypatch):
    monkeypatch.setattr(policy, "DEADLINE", 0.5)
    with socket.create_connection(control.address, timeout=10) as client:
        client.sendall(post(control, "100", "{"))
        assert b" 408 " in client.recv(65536)


def test_more_connections_than_allowed_are_turned_away(control, monkeypatch):
    monkeypatch.setattr(web_server, "MAX_CONNECTIONS", 3)
    held = [socket.create_connection(control.address, timeout=10) for _ in range(3)]
    time.sleep(0.2)
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        ask(control, "GET", "/status")
    for client in held:
        client.close()


def test_other_machines_are_served_by_tls_only(serve):
    app = make_app(SettingsStore(["a.jpg"]), dict)
    with pytest.raises(ConfigError, match="needs a certificate"):
        WebServer(("0.0.0.0", 0), app)
    context, fingerprint = tls_context(None, "192.0.2.7")
    running = serve(make_app(SettingsStore(["a.jpg"]), lambda: {"frames": 7}), ("0.0.0.0", 0), tls=context)
    assert running.url.startswith("https://")
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", running.address[1], timeout=10, context=trusting)
    connection.request("GET", "/status", headers={"Authorization": f"Bearer {running.token}"})
    assert json.loads(connection.getresponse().read()) == {"frames": 7}
    assert len(fingerprint.split(":")) == 32
    plain = http.client.HTTPConnection("127.0.0.1", running.address[1], timeout=10)
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        plain.request("GET", "/status")
        plain.getresponse()


def test_a_certificate_that_is_none(tmp_path):
    (tmp_path / "a.pem").write_text("none")
    with pytest.raises(ConfigError, match="holds no certificate with its private key"):
        tls_context(str(tmp_path / "a.pem"), "127.0.0.1")
    with pytest.raises(ConfigError, match=r"missing\.pem"):
        tls_context(str(tmp_path / "missing.pem"), "127.0.0.1")


def test_a_taken_port_is_a_device_error(control):
    with pytest.raises(DeviceError, match="choose another port"):
        WebServer(control.address, make_app(SettingsStore(["a.jpg"]), dict))
