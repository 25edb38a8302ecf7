"""The studio in headless Chromium with a file as its camera: what a person sees and does."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("playwright")
pytest.importorskip("aiortc")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not (CHROMIUM and shutil.which("ffmpeg")), reason="chromium or ffmpeg is missing"),
]

from playwright.sync_api import sync_playwright  # noqa: E402

import streammatte.web  # noqa: E402

PAGES = Path(streammatte.web.__file__).parent / "pages"
GREEN = (0, 177, 64)


class Studio:
    """The command in a process of its own."""

    def __init__(self, folder):
        command = [sys.executable, "-m", "streammatte", "studio", "--no-open", "--port", "0", "--json", "--size", "256"]
        self.process = subprocess.Popen(
            [*command, "--recordings", str(folder / "videos")], stdout=subprocess.PIPE, text=True
        )
        self.url = json.loads(self.process.stdout.readline())["url"]

    def close(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(30) == 0


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    camera = tmp_path_factory.mktemp("camera") / "camera.mjpeg"
    command = ["ffmpeg", "-loglevel", "error", "-i", "samples/person.mp4", "-vf", "crop=960:720,scale=640:480,fps=30"]
    subprocess.run([*command, "-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-q:v", "3", str(camera)], check=True)
    flags = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", "--no-sandbox"]
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*flags, f"--use-file-for-fake-video-capture={camera}"]
        )
        yield made
        made.close()


@pytest.fixture
def studio(tmp_path):
    running = Studio(tmp_path)
    yield running
    running.close()


@pytest.fixture
def page(browser, studio):
    context = browser.new_context(viewport={"width": 1280, "height": 900}, bypass_csp=True)
    tab = context.new_page()
    said = []
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.goto(studio.url)
    tab.wait_for_selector("#backgrounds button")
    yield tab
    context.close()
    assert not said


def start(tab):
    tab.click("#start")
    playing(tab)


def playing(tab, frames=10):
    """Wait until the returned image changes."""
    tab.wait_for_function("() => document.getElementById('result').videoWidth > 0", timeout=60_000)
    tab.evaluate(
        "() => { window.begin = document.getElementById('result').getVideoPlaybackQuality().totalVideoFrames; }"
    )
    tab.wait_for_function(
        f"() => document.getElementById('result').getVideoPlaybackQuality().totalVideoFrames > window.begin + {frames}",
        timeout=60_000,
    )


def shown_image(tab):
    """The returned image, RGB (480, 640, 3)."""
    given = tab.evaluate(
        """() => {
            const video = document.getElementById("result");
            const canvas = new OffscreenCanvas(640, 480);
            const context = canvas.getContext("2d");
            context.drawImage(video, 0, 0, 640, 480);
            return Array.from(context.getImageData(0, 0, 640, 480).data);
        }"""
    )
    return np.array(given, np.uint8).reshape(480, 640, 4)[..., :3].astype(int)


def state(tab):
    return tab.evaluate("() => fetch('/api/state').then((answer) => answer.json())")


def until(check, seconds=90):
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.2)


def near(image, color, box=np.s_[5:60, 5:60]):
    return np.median(np.abs(image[box] - color).max(axis=-1)) < 12


def test_the_chosen_background_is_behind_and_the_person_stays(page, tmp_path):
    page.click("#backgrounds button[data-name='#00b140']")
    start(page)
    until(lambda: near(shown_image(page), GREEN))
    shown = shown_image(page)
    assert near(shown, GREEN, np.s_[5:200, 560:630])
    body = shown[400:470, 250:330].reshape(-1, 3).mean(axis=0)  # the orange suit
    assert body[0] > body[2] + 40 and np.abs(body - GREEN).max() > 80
    cv2.imwrite(str(tmp_path / "red.png"), np.full((300, 400, 3), (40, 30, 200), np.uint8))
    page.set_input_files("#file", str(tmp_path / "red.png"))
    until(lambda: near(shown_image(page), (200, 30, 40)))
    page.click("#hold")
    until(lambda: near(shown_image(page), (200, 30, 40), np.s_[400:470, 250:330]))
    page.click("#hold")
    page.click("#record")
    until(lambda: "record" in state(page)["session"]["outputs"])
    time.sleep(2)
    page.click("#record")
    until(lambda: state(page)["recordings"])
    with page.expect_download() as kept:
        page.click("#recordings a")
    assert Path(kept.value.path()).stat().st_size > 10_000
    with page.expect_download() as kept:
        page.click("#snapshot")
    assert cv2.imread(str(kept.value.path())).shape == (480, 640, 3)
    page.click("#start")
    until(lambda: state(page)["session"] is None)


def test_a_file_that_is_none_is_reported(page, tmp_path):
    (tmp_path / "wrong.png").write_bytes(b"this is no image")
    page.set_input_files("#file", str(tmp_path / "wrong.png"))
    page.wait_for_function("() => document.getElementById('error').textContent.includes('wrong.png')")


def test_a_second_tab_sees_it_and_a_closed_one_hides_the_room(browser, studio, page):
    page.click("#backgrounds button[data-name='#00b140']")
    start(page)
    second = page.context.new_page()
    second.goto(studio.url)
    playing(second)
    until(lambda: near(shown_image(second), GREEN))
    second.click("#hold")  # the second tab controls it too
    until(lambda: state(second)["settings"]["hold"])
    second.click("#hold")
    second.bring_to_front()
    page.goto("about:blank")  # the tab with the camera goes
    until(lambda: "source" in state(second)["session"]["state"])
    until(lambda: near(shown_image(second), GREEN, np.s_[400:470, 250:330]))  # nobody, on green
    second.close()


def test_a_reload_goes_on_with_what_runs(page):
    page.click("#backgrounds button[data-name='#00b140']")
    start(page)
    page.reload()
    playing(page)
    until(lambda: state(page)["session"]["state"] == "live")
    until(lambda: near(shown_image(page), GREEN))


def test_a_lost_connection_comes_back(page, studio):
    start(page)
    studio.process.send_signal(signal.SIGSTOP)
    time.sleep(12)
    studio.process.send_signal(signal.SIGCONT)
    until(lambda: page.evaluate("() => window.studio.figures.connections") > 1, 60)
    playing(page)
    until(lambda: state(page)["session"]["state"] == "live", 60)


def test_a_thousand_changes_by_hand(page):
    start(page)
    page.evaluate(
        """async () => {
            const edge = document.getElementById("set-edge");
            const names = [...document.querySelectorAll("#backgrounds button")];
            for (let turn = 0; turn < 1000; turn += 1) {
                edge.value = String((turn % 20) / 2 - 5);
                edge.dispatchEvent(new Event("input"));
                if (turn % 10 === 0) names[(turn / 10) % names.length].click();
                if (turn % 50 === 0) document.getElementById("set-mirror").click();
                await new Promise((resolve) => setTimeout(resolve, 2));
            }
        }"""
    )
    until(lambda: state(page)["settings"]["edge"] == (999 % 20) / 2 - 5)
    playing(page)
    assert page.inner_text("#error") == ""


def packed(tmp_path, name, inside):
    """A file of an npm package."""
    if shutil.which("npm") is None:
        pytest.skip("npm is missing")
    done = subprocess.run(["npm", "pack", "--silent", name], cwd=tmp_path, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"npm cannot fetch {name}")
    shutil.unpack_archive(tmp_path / done.stdout.split()[-1], tmp_path / "unpacked", "gztar")
    return tmp_path / "unpacked" / "package" / inside


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["", "jobs"])
def test_accessible_and_narrow(page, studio, tmp_path, path, scheme):
    axe = packed(tmp_path, "axe-core@4", "axe.min.js").read_text(encoding="utf-8")
    page.emulate_media(color_scheme=scheme)
    page.goto(studio.url.split("#")[0] + path)
    page.wait_for_selector("#controls .control")
    for language, width in (("en", 1280), ("zh", 360)):
        page.set_viewport_size({"width": width, "height": 740})
        page.select_option("#language", language)
        page.evaluate(axe)
        found = page.evaluate("() => axe.run()")["violations"]
        assert [each["id"] for each in found if each["impact"] in ("serious", "critical")] == []
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
        assert page.evaluate("() => document.documentElement.lang") == language
    chinese = page.inner_text("nav")
    assert "直播" in chinese


def test_the_keyboard_reaches_everything(page):
    page.focus("#start")
    seen = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("() => document.activeElement.id || document.activeElement.tagName"))
    assert {"set-edge", "set-mirror", "url" if "url" in seen else "SUMMARY", "color", "file"} <= seen
    page.focus("#backgrounds button[tabindex='0']")
    page.keyboard.press("ArrowRight")
    until(lambda: state(page)["settings"]["background"] == "#1f2a3a")


def test_the_scripts_are_typed(tmp_path):
    compiler = packed(tmp_path, "typescript@5", "lib/tsc.js")
    if shutil.which("node") is None:
        pytest.skip("node is missing")
    how = ["--noEmit", "--allowJs", "--checkJs", "--strict", "--target", "es2022", "--module", "esnext"]
    how += ["--moduleResolution", "bundler", "--lib", "es2022,dom,dom.iterable"]
    scripts = [str(path) for folder in (PAGES, Path("examples/web")) for path in sorted(folder.glob("*.js"))]
    done = subprocess.run(["node", str(compiler), *how, *scripts], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_text_is_there_in_both_languages():
    text = (PAGES / "texts.js").read_text(encoding="utf-8")
    english, chinese = text.split("  zh: {")
    keys = [set(re.findall(r"(?:^|[{ ,])(\w+): \"", part)) for part in (english, chinese)]
    assert keys[0] == keys[1] and len(keys[0]) > 80
    wanted = set(re.findall(r"data-(?:text|label|alt)=\"(\w+)\"", "".join(p.read_text() for p in PAGES.glob("*.html"))))
    wanted |= set(re.findall(r"[^.\w]text\(\"(\w+)\"\)", "".join(p.read_text() for p in PAGES.glob("*.js"))))
    assert wanted <= keys[0]


def test_a_job_in_the_page(page, studio):
    page.goto(studio.url.split("#")[0] + "jobs")
    page.wait_for_selector("#controls .control")
    page.set_input_files("#file", "samples/person.mp4")
    page.wait_for_function("() => document.getElementById('preview').naturalWidth > 0", timeout=60_000)
    before = page.evaluate("() => document.getElementById('preview').src")
    page.select_option("#background", "#00b140")  # the preview follows
    page.wait_for_function(f"() => document.getElementById('preview').src !== '{before}'", timeout=60_000)
    page.click("#jobs li button:has-text('Start')")
    page.wait_for_selector("#jobs progress", timeout=60_000)
    page.reload()  # what is under way is there again
    page.wait_for_selector("#jobs video", timeout=120_000)
    page.wait_for_function("() => document.querySelector('#jobs video').readyState >= 1", timeout=60_000)
    assert page.evaluate("() => document.querySelector('#jobs video').videoWidth") == 1280
    with page.expect_download() as kept:
        page.click("#jobs a")
    assert kept.value.suggested_filename == "person-matted.mp4"
    page.click("#jobs li button:has-text('Remove')")
    page.wait_for_selector("#none:visible")
