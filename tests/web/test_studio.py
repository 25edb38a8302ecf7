"""The studio's application: what pages may ask of it, and what is refused; a real network, a clip as the camera."""

import http.client
import json
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote, urlsplit

import av
import cv2
import numpy as np
import pytest

pytest.importorskip("aiortc")

from streammatte.errors import ConfigError
from streammatte.options.live import LiveOptions
from streammatte.options.presets import delete_preset, list_presets, load_preset, save_preset
from streammatte.web import files as web_files
from streammatte.web import studio_backgrounds
from streammatte.web.files import safe_name
from streammatte.web.jobs import command_of
from streammatte.web.server import WebServer
from streammatte.web.studio import STUDIO_PAGES, Studio

CLIP = "samples/person.mp4"
BINARY = {"Content-Type": "application/octet-stream"}
JSON = {"Content-Type": "application/json"}


class Client:
    """Talks to a studio with its token."""

    def __init__(self, server, studio, folder):
        self.server, self.studio, self.folder = server, studio, folder

    def ask(self, method, path, body=None, headers=None, token=True, timeout=60):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.address[1], timeout=timeout)
        shown = {"Authorization": f"Bearer {self.server.token}"} if token else {}
        connection.request(method, path, body, shown | (headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers

    def get(self, path):
        status, body, _ = self.ask("GET", path)
        assert status == 200, (path, body)
        return json.loads(body)

    def post(self, name, body, status=200):
        got, answer, _ = self.ask("POST", f"/api/{name}", json.dumps(body), JSON)
        assert got == status, (name, body, answer)
        return json.loads(answer)

    def put(self, path, name, data, status=200):
        got, answer, _ = self.ask("PUT", f"{path}?name={quote(name)}", data, BINARY)
        assert got == status, answer
        return json.loads(answer)

    def wait(self, found, seconds=60):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            state = self.get("/api/state")
            if found(state):
                return state
            time.sleep(0.1)
        pytest.fail(f"not within {seconds} s: {state}")


@pytest.fixture
def client(tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMMATTE_HOME", str(tmp_path / "home"))
    (tmp_path / "private").mkdir()
    options = LiveOptions.build(camera=CLIP, loop=True, size=256, adaptive=False)
    with ExitStack() as stack:
        studio = Studio(options, tmp_path / "private", tmp_path / "videos")
        stack.callback(studio.close)
        server = WebServer(("127.0.0.1", 0), studio.make_app(), hashes=("self",), pages=STUDIO_PAGES)
        server.start()
        stack.callback(server.close)
        yield Client(server, studio, tmp_path)


def png_file(color=(30, 60, 160), size=(120, 90)):
    return cv2.imencode(".png", np.full((size[1], size[0], 3), color[::-1], np.uint8))[1].tobytes()


def shot(client):
    """The newest image, RGB, once one has come."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        status, body, _ = client.ask("GET", "/files/snapshot.png")
        if status == 200:
            return cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(int)
        time.sleep(0.1)
    pytest.fail("no image")


def near(image, color, corner=(10, 10)):
    return np.abs(image[corner] - color).max() < 12


def test_a_session_from_start_to_stop(client):
    assert client.get("/api/state")["session"] is None
    assert client.ask("GET", "/files/snapshot.png")[0] == 503
    client.post("set", {"background": "#00b140"})
    client.post("start", {"camera": CLIP})
    state = client.wait(lambda state: (state["session"] or {}).get("state") == "live")
    session = state["session"]
    assert (session["camera"], session["width"], session["height"]) == (CLIP, 1280, 720)
    assert near(shot(client), (0, 177, 64))
    made = client.put("/files/background", "blue room.png", png_file())
    assert made["kind"] == "image"
    assert [each["kind"] for each in client.get("/api/state")["backgrounds"]][-1] == "image"
    client.post("set", {"background": "blue room.png", "edge": 1, "framing": "off"})
    time.sleep(1.0)
    assert near(shot(client), (30, 60, 160))
    assert "--edge 1" in client.get("/api/state")["command"]
    thumbnail = client.ask("GET", f"/files/background/{quote('blue room.png')}")
    assert thumbnail[0] == 200 and thumbnail[1][:2] == b"\xff\xd8"
    client.post("output", {"name": "record", "on": True})
    assert client.post("output", {"name": "record", "on": True}, 400)["error"] == "record is on already"
    time.sleep(1.5)
    client.post("output", {"name": "record", "on": False})
    (name,) = client.get("/api/state")["recordings"]
    status, body, headers = client.ask("GET", f"/files/recording/{name}")
    assert status == 200 and name in headers["Content-Disposition"]
    (client.folder / "got.mp4").write_bytes(body)
    with av.open(str(client.folder / "got.mp4")) as video:
        frames = [image.to_ndarray(format="rgb24").astype(int) for image in video.decode(video=0)]
    assert len(frames) > 15 and near(frames[-1], (30, 60, 160))
    client.post("set", {"hold": True})
    time.sleep(0.5)
    assert np.abs(shot(client) - (30, 60, 160)).max() < 12  # nobody is there
    client.post("stop", {})
    assert client.get("/api/state")["session"] is None
    assert client.ask("GET", "/files/snapshot.png")[0] == 503
    assert (client.folder / "videos" / name).is_file()  # recordings stay


def test_a_thousand_changes_while_it_runs(client):
    client.post("start", {"camera": CLIP})
    client.wait(lambda state: (state["session"] or {}).get("state") == "live")
    rng = np.random.default_rng(0)
    names = [each["name"] for each in client.get("/api/state")["backgrounds"]]
    before = client.get("/api/state")["session"]["frames"]
    for turn in range(1000):
        patch = [
            {"background": names[turn % len(names)], "blur": bool(turn % 7 == 0)},
            {"edge": float(rng.uniform(-5, 5)), "feather": float(rng.uniform(0, 10))},
            {"smooth": ("off", "low", "high")[turn % 3], "mirror": bool(turn % 2)},
            {
                "framing": ("off", "auto")[turn % 2],
                "despill": ("off", "green")[turn % 2],
                "match_light": bool(turn % 2),
            },
            {"choose": [int(rng.integers(0, 1280)), int(rng.integers(0, 720))] if turn % 3 else None},
        ][turn % 5]
        client.post("set", patch)
    state = client.get("/api/state")
    assert state["session"]["frames"] > before + 10 and state["error"] == ""


def test_a_camera_that_is_not_there_is_one_message(client):
    client.post("start", {"camera": "nowhere.mp4"})
    state = client.wait(lambda state: state["error"])
    assert "nowhere.mp4" in state["error"] and state["session"] is None
    client.post("start", {"camera": CLIP})  # and the next try works
    client.wait(lambda state: state["session"])


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("start", {"camera": 5}, "camera must be text"),
        ("start", {"camera": "browser"}, "width and height"),
        ("start", {"camera": "browser", "width": 8, "height": 8}, "width and height"),
        ("start", {"camera": "browser", "width": 1e9, "height": 5}, "width must be"),
        ("offer", {}, "sdp must be text"),
        ("offer", {"sdp": "nothing"}, "cannot be answered"),
        (
            "offer",
            {"sdp": "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 9 X Y\r\n"},
            "cannot be answered",
        ),
        ("set", {"background": "/etc/passwd"}, "background must be"),
        ("set", {"background": 0}, "background must be a name"),
        ("set", {"edge": "1"}, "--edge must be"),
        ("set", {"nothing": 1}, "unknown setting"),
        ("set", {"quit": True}, "button"),
        ("set", {"black_point": 0.9, "white_point": 0.1}, "--black-point"),
        ("set", {"gamma": 10, "white_point": 0.1}, "would show the room"),
        ("output", {"name": "record", "on": True}, "start the camera first"),
        ("preset", {"action": "save", "name": "../x"}, "name has up to"),
        ("preset", {"action": "save", "name": "meeting"}, "installed preset"),
        ("preset", {"action": "apply", "name": "none such"}, "no preset"),
        ("preset", {"action": "delete", "name": "meeting"}, "of yours"),
        ("preset", {"action": "burn", "name": "x"}, "action must be"),
        ("background", {"add": "/etc/passwd"}, "no colour and no blur"),
        ("background", {"add": "blur:900"}, "blur strength"),
        ("background", {"add": "samples/beach.jpg"}, "no colour and no blur"),
        ("job", {"id": "x", "action": "start"}, "no such job"),
        ("job", {"id": 5, "action": "start"}, "id must be text"),
    ],
)
def test_wrong_requests_are_reported_and_change_nothing(client, name, body, said):
    before = client.get("/api/state")
    assert said in client.post(name, body, 400)["error"]
    after = client.get("/api/state")
    assert after["settings"] == before["settings"] and after["backgrounds"] == before["backgrounds"]


HOSTILE = [
    ("another site's script", "POST", "/api/set", b'{"mirror":true}', JSON | {"Origin": "https://evil.example"}, 403),
    ("another port here", "POST", "/api/start", b"{}", JSON | {"Origin": "http://127.0.0.1:1"}, 403),
    ("embedded as an image", "GET", "/stream.mjpg", None, {"Sec-Fetch-Site": "cross-site"}, 403),
    ("the state, from a frame", "GET", "/api/state", None, {"Sec-Fetch-Site": "same-site"}, 403),
    ("a host that was rebound", "GET", "/api/state", None, {"Host": "evil.example"}, 403),
    ("a form", "POST", "/api/stop", b"a=b", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ("a form of text", "POST", "/api/stop", b"{}", {"Content-Type": "text/plain"}, 415),
    ("a file as a form", "PUT", "/files/job?name=a.mp4", b"x", {"Content-Type": "multipart/form-data"}, 415),
    ("a file to another path", "PUT", "/api/set", b"x", BINARY, 415),
    ("another method", "DELETE", "/files/job/1/result", None, {}, 405),
    ("out of the folder", "GET", "/files/recording/..%2f..%2fetc%2fpasswd", None, {}, 404),
    ("out of the folder again", "GET", "/files/background/%2fetc%2fpasswd", None, {}, 404),
    ("a preset that is a path", "GET", "/files/preset/..%2f..%2fsetup.cfg", None, {}, 404),
    ("a long body", "POST", "/api/set", b"x" * 100_000, JSON, 413),
]


@pytest.mark.parametrize(
    ("why", "method", "path", "body", "headers", "status"), HOSTILE, ids=[row[0] for row in HOSTILE]
)
def test_hostile_requests_are_refused(client, why, method, path, body, headers, status):
    assert client.ask(method, path, body, headers)[0] == status


@pytest.mark.parametrize("path", ["/api/state", "/api/options", "/stream.mjpg", "/files/snapshot.png", "/snapshot.jpg"])
def test_nothing_without_the_token(client, path):
    assert client.ask("GET", path, token=False)[0] == 401
    assert client.ask("GET", path, headers={"Authorization": "Bearer wrong"}, token=False)[0] == 401


def test_pages_need_no_token_and_hold_none(client):
    for path in STUDIO_PAGES:
        status, body, headers = client.ask("GET", path, token=False)
        assert status == 200 and client.server.token.encode() not in body
        assert "script-src 'self'" in headers["Content-Security-Policy"]
        assert (
            b"<script>" not in body and b"style=" not in body and b"https://" not in body.replace(b"http://www.w3", b"")
        )


def test_files_that_are_none(client, monkeypatch):
    for name, data, said in (
        ("a.png", b"", "is empty"),
        ("a.png", b"not an image", "a.png"),
        ("a.mp4", b"\0" * 5000, "cannot"),
        ("", png_file(), "needs a name"),
        ("..", png_file(), "needs a name"),
    ):
        answer = client.put("/files/background", name, data, 400)["error"]
        assert said in answer or "read" in answer, answer
        assert str(client.folder) not in answer
    monkeypatch.setattr(studio_backgrounds, "MAX_BYTES", 1000)
    assert "larger than" in client.put("/files/background", "large.png", b"x" * 5000, 400)["error"]
    assert list((client.folder / "private").iterdir()) == []  # nothing is left of them
    monkeypatch.setattr(studio_backgrounds, "MAX_BACKGROUNDS", 4)
    assert "already" in client.put("/files/background", "one.png", png_file(), 400)["error"]


def test_two_files_of_one_name(client):
    assert client.put("/files/background", "room.png", png_file())["name"] == "room.png"
    assert client.put("/files/background", "folder/room.png", png_file((1, 2, 3)))["name"] == "room.png (2)"
    with ThreadPoolExecutor(6) as pool:  # a page sends several at once
        made = list(pool.map(lambda _: client.put("/files/background", "at once.png", png_file())["name"], range(6)))
    assert sorted(made) == ["at once.png", *(f"at once.png ({count})" for count in range(2, 7))]
    assert set(made) <= {each["name"] for each in client.get("/api/state")["backgrounds"]}


def test_names_of_files():
    assert safe_name("C:\\Users\\x\\clip.mp4") == "clip.mp4"
    assert safe_name("../../etc/passwd") == "passwd"
    assert safe_name("a\r\nSet-Cookie: x.mp4") == "aSet-Cookie x.mp4"
    assert len(safe_name("x" * 500 + ".mp4")) == 100
    with pytest.raises(ConfigError):
        safe_name("///...")


def test_a_folder_of_backgrounds_and_presets(tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMMATTE_HOME", str(tmp_path / "home"))
    for name in ("private", "rooms"):
        (tmp_path / name).mkdir()
    (tmp_path / "rooms" / "a.png").write_bytes(png_file())
    studio = Studio(LiveOptions.build(bg_folder=str(tmp_path / "rooms")), tmp_path / "private", tmp_path)
    server = WebServer(("127.0.0.1", 0), studio.make_app(), hashes=("self",), pages=STUDIO_PAGES)
    server.start()
    try:
        client = Client(server, studio, tmp_path)
        assert "a.png" in [each["name"] for each in client.get("/api/state")["backgrounds"]]
        whole = png_file()
        (tmp_path / "rooms" / "b.png").write_bytes(whole[: len(whole) // 2])
        for _ in range(3):  # half of a file is no image yet
            assert "b.png" not in [each["name"] for each in client.get("/api/state")["backgrounds"]]
        (tmp_path / "rooms" / "b.png").write_bytes(whole)
        client.get("/api/state")
        assert "b.png" in [each["name"] for each in client.get("/api/state")["backgrounds"]]
        assert client.ask("GET", "/files/background/b.png")[0] == 200
        client.post("set", {"background": "b.png", "edge": -1.5, "mirror": True, "smooth": "high", "choose": [5, 6]})
        client.post("preset", {"action": "save", "name": "my room"})
        kept = load_preset("my room")
        assert kept["edge"] == -1.5 and kept["backgrounds"] == [str(tmp_path / "rooms" / "b.png")]
        options = LiveOptions.build(kept)
        assert (options.mirror, options.smooth, options.choose) == (True, "high", (5, 6))
        client.post("set", {"edge": 0, "mirror": False, "background": "blur"})
        assert client.post("preset", {"action": "apply", "name": "my room"})["settings"]["edge"] == -1.5
        status, body, _ = client.ask("GET", "/files/preset/my%20room.yml")
        assert status == 200 and b"edge: -1.5" in body
        line = client.get("/api/state")["command"]
        assert "--mirror" in line and "--choose 5,6" in line and "--edge -1.5" in line
        client.post("preset", {"action": "delete", "name": "my room"})
        assert "my room" not in list_presets()
    finally:
        server.close()
        studio.close()


def test_presets_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMMATTE_HOME", str(tmp_path))
    save_preset("Büro 2", {"edge": 1.0, "smooth": "off"})
    assert "Büro 2" in list_presets() and load_preset("Büro 2")["smooth"] in ("off", False)
    delete_preset("Büro 2")
    with pytest.raises(ConfigError, match="no preset"):
        load_preset("Büro 2")
    for name in ("../room", "room.yml", "room.yaml"):  # ``--config`` would read the last two as paths
        with pytest.raises(ConfigError, match="preset's name"):
            save_preset(name, {"edge": 1.0})
    assert not (tmp_path / "presets").is_dir() or not list((tmp_path / "presets").iterdir())


@pytest.mark.slow
def test_a_job_from_upload_to_download(client):
    data = Path(CLIP).read_bytes()
    job = client.put("/files/job", "my clip.mp4", data)
    assert (job["kind"], job["width"], job["state"]) == ("video", 1280, "new")
    assert client.ask("GET", f"/files/job/{job['id']}/thumbnail.jpg")[0] == 200
    settings = {"background": "#00b140", "smooth": "off", "edge": 0.5}
    query = f"at=1&settings={quote(json.dumps(settings))}"
    status, body, _ = client.ask("GET", f"/files/job/{job['id']}/preview.png?{query}")
    preview = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(int)
    assert status == 200 and preview.shape == (720, 1280, 3) and near(preview, (0, 177, 64))
    client.post("job", {"id": job["id"], "action": "start", "settings": settings})
    assert "already" in client.post("job", {"id": job["id"], "action": "start", "settings": settings}, 400)["error"]
    state = client.wait(lambda state: state["jobs"][0]["state"] == "done", 120)
    assert state["jobs"][0]["result"] == "my clip-matted.mp4" and state["jobs"][0]["progress"]["frames"] == 150
    status, body, headers = client.ask("GET", f"/files/job/{job['id']}/result?download")
    assert status == 200 and 'filename="my clip-matted.mp4"' in headers["Content-Disposition"]
    (client.folder / "got.mp4").write_bytes(body)
    with av.open(CLIP) as before, av.open(str(client.folder / "got.mp4")) as after:
        assert [stream.type for stream in after.streams] == [stream.type for stream in before.streams]  # its audio too
        assert near(next(after.decode(video=0)).to_ndarray(format="rgb24").astype(int), (0, 177, 64))
    part = client.ask("GET", f"/files/job/{job['id']}/result", headers={"Range": "bytes=0-99"})
    assert part[0] == 206 and len(part[1]) == 100
    client.post("job", {"id": job["id"], "action": "remove"})
    assert client.get("/api/state")["jobs"] == []
    assert client.ask("GET", f"/files/job/{job['id']}/result")[0] == 400


@pytest.mark.slow
def test_a_queue_is_worked_on_in_order_and_can_be_left(client):
    data = Path(CLIP).read_bytes()
    first, second = (client.put("/files/job", f"{name}.mp4", data)["id"] for name in "ab")
    still = client.put("/files/job", "c.jpg", Path("samples/beach.jpg").read_bytes())["id"]
    for identity in (first, second, still):
        client.post(
            "job",
            {
                "id": identity,
                "action": "start",
                "settings": {"background": "transparent" if identity == still else "blur"},
            },
        )
    client.wait(lambda state: state["jobs"][0]["state"] == "running")
    assert client.get("/api/state")["jobs"][1]["state"] == "waiting"
    client.post("job", {"id": second, "action": "cancel"})
    client.post("job", {"id": first, "action": "cancel"})
    state = client.wait(lambda state: state["jobs"][2]["state"] == "done", 120)
    assert [job["state"] for job in state["jobs"]] == ["canceled", "canceled", "done"]
    body = client.ask("GET", f"/files/job/{still}/result")[1]
    assert cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_UNCHANGED).shape[2] == 4
    client.post("job", {"id": first, "action": "start", "settings": {"edge": 1}, "suffix": ".webm"})
    assert client.wait(lambda state: state["jobs"][0]["state"] == "done", 120)["jobs"][0]["result"] == "a-matted.webm"
    broken = client.put("/files/job", "cut.mp4", data)["id"]
    for settings, said in (
        ({"nothing": 1}, "unknown setting"),
        ({"background": "/etc/passwd"}, "one of the studio's"),
        ([], "must be an object"),
        ({"edge": "a"}, "--edge"),
    ):
        assert said in client.post("job", {"id": broken, "action": "start", "settings": settings}, 400)["error"]
    assert (
        ".exe" in client.post("job", {"id": broken, "action": "start", "settings": {}, "suffix": ".exe"}, 400)["error"]
    )


def test_arguments_of_a_job(tmp_path):
    settings = {"background": "blur", "smooth": "high", "largest_person": True, "match_light": True, "edge": -1.5}
    video = command_of("video", tmp_path / "a.mp4", tmp_path / "b.mp4", settings)
    assert video[4:] == [
        "--bg",
        "blur",
        "--smooth",
        "high",
        "--largest-person",
        "--match-light",
        "on",
        "--edge",
        "-1.5",
    ]
    assert "--smooth" not in command_of("image", tmp_path / "a.png", tmp_path / "b.png", settings)


def test_only_so_many_files(client, monkeypatch):
    monkeypatch.setattr("streammatte.web.jobs.MAX_JOBS", 1)
    client.put("/files/job", "a.png", png_file())
    assert "1 files already" in client.put("/files/job", "b.png", png_file(), 400)["error"]


def test_hostile_files_meet_a_child_process(client, monkeypatch):
    """A decoder that crashes takes its own process with it, not the studio."""
    seen = []
    real = web_files.in_child
    monkeypatch.setattr(web_files, "in_child", lambda *args: seen.append(args[0].__name__) or real(*args))
    client.put("/files/background", "a.png", png_file())
    assert seen == ["look"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_prints_its_address_and_ends_cleanly(tmp_path, number):
    command = [sys.executable, "-m", "streammatte", "studio", "--no-open", "--port", "0", "--json"]
    process = subprocess.Popen(
        [*command, "--camera", CLIP, "--loop", "--recordings", str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        parts = urlsplit(json.loads(process.stdout.readline())["url"])
        token = parts.fragment.removeprefix("token=")
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
        headers = {"Authorization": f"Bearer {token}"} | JSON
        connection.request("POST", "/api/start", json.dumps({"camera": CLIP}), headers)
        assert connection.getresponse().status == 200
        time.sleep(2)
        process.send_signal(number)
        assert process.wait(20) == 0
    finally:
        process.kill()


def test_wrong_addresses(tmp_path):
    command = [sys.executable, "-m", "streammatte", "studio", "--no-open", "--host", "0.0.0.0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "--allow-remote" in done.stderr and len(done.stderr.splitlines()) == 1
