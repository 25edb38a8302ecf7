"""The page of examples/web in headless Chromium with a file as its camera: the product's matte, the background."""

import base64
import importlib.util
import io
import json
import re
import shutil
import subprocess
import threading
import time
from contextlib import closing
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("playwright")
pytest.importorskip("paddle2onnx")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.paddle,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not (CHROMIUM and shutil.which("npm")), reason="chromium or npm is missing"),
]

from playwright.sync_api import sync_playwright  # noqa: E402

from streammatte.engines import open_engine  # noqa: E402


def image():
    with av.open("samples/person.mp4") as video:
        return next(video.decode(video=0)).to_ndarray(format="rgb24")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web")
    specification = importlib.util.spec_from_file_location("build", "examples/web/build.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    module.build(folder / "site")
    camera = folder / "camera.mjpeg"
    command = ["ffmpeg", "-loglevel", "error", "-i", "samples/person.mp4", "-t", "3", "-vf", "scale=640:360"]
    subprocess.run([*command, "-c:v", "mjpeg", "-q:v", "2", str(camera)], check=True)
    flags = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    flags += [f"--use-file-for-fake-video-capture={camera}", "--no-sandbox"]
    server = module.server(folder / "site", 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        tab = browser.new_page(viewport={"width": 900, "height": 800})
        said = []
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.goto(f"http://localhost:{server.server_port}/")
        yield tab
        browser.close()
    server.shutdown()
    assert not said


def state(page):
    return page.evaluate("() => window.streammatte.state")


def test_the_products_matte(page):
    picture = cv2.resize(image(), (512, 288), interpolation=cv2.INTER_AREA)
    given = base64.b64encode(np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)]).tobytes()).decode()
    found = page.evaluate(
        """async (given) => {
            const bytes = Uint8ClampedArray.from(atob(given), (letter) => letter.charCodeAt(0));
            const network = await window.streammatte.Network.load(".", ["wasm"]);
            const alpha = await network.matte(new ImageData(bytes, 512, 288));
            return {...alpha, data: Array.from(alpha.data), isolated: self.crossOriginIsolated};
        }""",
        given,
    )
    alpha = np.array(found["data"], np.float32).reshape(found["height"], found["width"])
    with closing(open_engine(precision="f32", size=(288, 512))) as engine:
        wanted = engine.submit(picture[None]).result()[0]
    assert found["isolated"] and alpha.shape == wanted.shape and wanted.max() > 0.9
    assert np.abs(alpha - wanted).max() < 0.02


def shot(page):
    data = page.evaluate("() => document.getElementById('picture').toDataURL('image/png')")
    return np.array(Image.open(io.BytesIO(base64.b64decode(data.split(",")[1]))).convert("RGB"))


def test_the_camera_in_front_of_a_colour(page, request):
    page.select_option("#background", "colour")
    page.fill("#colour", "#1c6b4a")
    page.click("#start")
    page.wait_for_function("() => window.streammatte.state.backend || window.streammatte.state.error", timeout=120_000)
    assert not state(page)["error"]
    before = state(page)["frames"]
    time.sleep(8)
    now = state(page)
    assert now["frames"] > before + 8 and re.search(r"begins at \d+|size changed to \d+", now["chosen"])
    picture = shot(page)
    assert picture.shape == (360, 640, 3)
    corner = picture[:60, :60].reshape(-1, 3).mean(0)
    assert np.abs(corner - (0x1C, 0x6B, 0x4A)).max() < 6
    changed = np.abs(picture.astype(int) - (0x1C, 0x6B, 0x4A)).max(-1) > 40
    assert 0.08 < changed.mean() < 0.8  # the person is there
    target = request.config.getoption("--basetemp")
    if target:
        page.screenshot(path=str(Path(target) / "web.png"))
        (Path(target) / "web.json").write_text(json.dumps(now))


def test_another_background_and_a_wrong_file(page, tmp_path):
    page.set_input_files("#file", "samples/beach.jpg")
    page.wait_for_function("() => document.getElementById('background').value === 'image'")
    time.sleep(1.5)
    beach = cv2.imread("samples/beach.jpg")[..., ::-1]
    assert (
        np.abs(
            shot(page)[:40, :40].mean((0, 1)) - beach[: beach.shape[0] // 9, : beach.shape[1] // 16].mean((0, 1))
        ).max()
        < 40
    )
    (tmp_path / "no.png").write_text("no image")
    page.set_input_files("#file", str(tmp_path / "no.png"))
    page.wait_for_function("() => document.getElementById('state').textContent.includes('no image that')")


def test_how_the_size_follows_the_time(page):
    found = page.evaluate(
        """async () => {
            const { Pace } = await import("./network.js");
            const pace = new Pace([512, 384, 256, 192]);
            const sizes = [];
            pace.begin(256, 5); sizes.push(pace.size);
            for (let i = 0; i < 40; i += 1) pace.took(60, 100 * i);
            sizes.push(pace.size);
            for (let i = 0; i < 400; i += 1) pace.took(2, 10000 + 33 * i);
            sizes.push(pace.size);
            pace.begin(256, 90); sizes.push(pace.size);
            return sizes;
        }"""
    )
    assert found == [512, 192, 512, 192]
