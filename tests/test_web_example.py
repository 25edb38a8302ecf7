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
from contextlib import closing, contextmanager
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
    pytest.mark.browser,
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
def site(tmp_path_factory):
    """The example, built and served; gives its address and a video as camera."""
    folder = tmp_path_factory.mktemp("web")
    specification = importlib.util.spec_from_file_location("build", "examples/web/build.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    module.build(folder / "site")
    camera = folder / "camera.mjpeg"
    command = ["ffmpeg", "-loglevel", "error", "-i", "samples/person.mp4", "-t", "3", "-vf", "scale=640:360"]
    subprocess.run([*command, "-c:v", "mjpeg", "-q:v", "2", str(camera)], check=True)
    server = module.server(folder / "site", 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}/", camera
    server.shutdown()


@pytest.fixture(scope="module")
def playwright():
    with sync_playwright() as running:
        yield running


@contextmanager
def opened(playwright, site, *more):
    """A tab with the page; it must raise no error."""
    address, camera = site
    flags = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    flags += [f"--use-file-for-fake-video-capture={camera}", "--no-sandbox", *more]
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
    tab = browser.new_page(viewport={"width": 900, "height": 800})
    said = []
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.goto(address)
    yield tab
    browser.close()
    assert not said


@pytest.fixture(scope="module")
def page(playwright, site):
    with opened(playwright, site) as tab:
        yield tab


def state(page):
    return page.evaluate("() => window.streammatte.state")


def matte_of(tab, pixels, backend):
    """Alpha of an image by a back end of the page, and whether the page is isolated."""
    height, width = pixels.shape[:2]
    given = base64.b64encode(np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)]).tobytes()).decode()
    found = tab.evaluate(
        """async ([given, width, height, backend]) => {
            const bytes = Uint8ClampedArray.from(atob(given), (letter) => letter.charCodeAt(0));
            const network = await window.streammatte.Network.load(".", [backend]);
            const alpha = await network.matte(new ImageData(bytes, width, height));
            return {...alpha, data: Array.from(alpha.data), isolated: self.crossOriginIsolated, used: network.backend};
        }""",
        [given, width, height, backend],
    )
    return np.array(found["data"], np.float32).reshape(found["height"], found["width"]), found


def compared(alpha, pixels):
    with closing(open_engine(precision="f32", size=pixels.shape[:2])) as engine:
        wanted = engine.submit(pixels[None]).result()[0]
    assert alpha.shape == wanted.shape and wanted.max() > 0.9
    assert np.abs(alpha - wanted).max() < 0.02


def test_the_products_matte(page):
    pixels = cv2.resize(image(), (512, 288), interpolation=cv2.INTER_AREA)
    alpha, found = matte_of(page, pixels, "wasm")
    assert found["isolated"]
    compared(alpha, pixels)


@pytest.mark.long
def test_the_products_matte_by_webgpu(playwright, site):
    """SwiftShader, Chromium's own GPU in software, stands for one: what is computed, not how fast."""
    with opened(playwright, site, "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader") as tab:
        if not tab.evaluate("() => navigator.gpu?.requestAdapter().then(Boolean) ?? false"):
            pytest.skip("this Chromium has no WebGPU")
        pixels = cv2.resize(image(), (256, 160), interpolation=cv2.INTER_AREA)
        alpha, found = matte_of(tab, pixels, "webgpu")
        assert found["used"] == "WebGPU"
        compared(alpha, pixels)


def shot(page):
    data = page.evaluate("() => document.getElementById('output').toDataURL('image/png')")
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
    pixels = shot(page)
    assert pixels.shape == (360, 640, 3)
    corner = pixels[:60, :60].reshape(-1, 3).mean(0)
    assert np.abs(corner - (0x1C, 0x6B, 0x4A)).max() < 6
    changed = np.abs(pixels.astype(int) - (0x1C, 0x6B, 0x4A)).max(-1) > 40
    assert 0.08 < changed.mean() < 0.8  # the person is there
    target = request.config.getoption("--basetemp")
    if target:
        page.screenshot(path=str(Path(target) / "web.png"))
        (Path(target) / "web.json").write_text(json.dumps(now))


def test_another_background_and_a_wrong_file(page, tmp_path):
    page.set_input_files("#file", "samples/beach.jpg")
    page.wait_for_function("() => document.getElementById('background').value === 'image'")
    beach = cv2.imread("samples/beach.jpg")[..., ::-1]
    wanted = beach[: beach.shape[0] // 9, : beach.shape[1] // 16].mean((0, 1))
    deadline = time.monotonic() + 60
    while np.abs(shot(page)[:40, :40].mean((0, 1)) - wanted).max() >= 40:
        assert time.monotonic() < deadline
        time.sleep(0.5)
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
