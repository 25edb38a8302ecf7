"""Make the studio's screenshots in ``docs/images`` from ``samples/`` (needs Chromium, playwright and ffmpeg)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from measure_studio import SAMPLE, camera_file

HERE = Path(__file__).parents[1]
IMAGES = HERE / "docs" / "images"
SHOT: dict[str, Any] = {"type": "jpeg", "quality": 85}


def live(page: Any, url: str) -> None:
    """The live page, wide and light, then narrow and dark."""
    page.goto(url)
    page.wait_for_selector("#backgrounds button")
    page.click("#start")
    page.wait_for_function("() => document.getElementById('result').videoWidth > 0", timeout=60_000)
    page.set_input_files("#file", str(HERE / "samples" / "beach.jpg"))
    page.wait_for_timeout(15_000)
    page.evaluate(
        "() => { const s = document.getElementById('split'); s.value = 25; s.dispatchEvent(new Event('input')); }"
    )
    page.wait_for_timeout(1_500)
    page.screenshot(path=IMAGES / "studio.jpg", **SHOT)
    page.set_viewport_size({"width": 360, "height": 780})
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(1_500)
    page.screenshot(path=IMAGES / "studio-narrow.jpg", **SHOT)
    page.set_viewport_size({"width": 1280, "height": 860})
    page.emulate_media(color_scheme="light")
    page.click("#start")


def jobs(page: Any, url: str) -> None:
    """The page for videos and images with one that is done."""
    page.goto(url.partition("#")[0] + "jobs")
    page.wait_for_selector("#controls .control")
    page.set_input_files("#file", str(SAMPLE))
    page.wait_for_function("() => document.getElementById('preview').naturalWidth > 0", timeout=60_000)
    page.select_option("#background", "beach.jpg")
    page.wait_for_timeout(6_000)
    page.click("#jobs li button:has-text('Start')")
    page.wait_for_selector("#jobs video", timeout=120_000)
    page.wait_for_timeout(2_000)
    page.screenshot(path=IMAGES / "studio-jobs.jpg", **SHOT)


def main() -> int:
    """Make the screenshots."""
    from playwright.sync_api import sync_playwright

    command = [sys.executable, "-m", "streammatte", "studio", "--no-open", "--port", "0", "--json"]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        camera_file(Path(folder) / "camera.mjpeg", (640, 480), counted=False)
        command += ["--recordings", folder]
        studio = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            url = json.loads(studio.stdout.readline() if studio.stdout else "{}")["url"]
            flags = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", "--no-sandbox"]
            flags.append(f"--use-file-for-fake-video-capture={folder}/camera.mjpeg")
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
            page = browser.new_page(viewport={"width": 1280, "height": 860})
            live(page, url)
            jobs(page, url)
            browser.close()
        finally:
            studio.terminate()
            studio.wait(30)
    return 0


if __name__ == "__main__":
    sys.exit(main())
