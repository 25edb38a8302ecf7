"""Latency and frames of ``streammatte studio``, measured in a browser from the camera's image to the page's.

    python tools/measure_studio.py [--seconds 30] [--size 640x480] [--screenshots FOLDER] [options of the studio]

Chromium (found on PATH) runs headless with a video of a person as its camera. Eight squares on the person's body count
the frames; the page reads them from the camera's image and from the returned one, and the difference of the two times
is the latency, with everything that encodes, sends, decodes and shows. Needs playwright and ffmpeg.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

SAMPLE = Path(__file__).parents[1] / "samples" / "person.mp4"
FRAMES = 240
PLACE, SQUARE = (0.42, 0.74), 0.026
"""Where the squares begin and how large they are, as shares of the image's width; the place is on the body."""
WATCH = """(seconds) => new Promise((resolve) => {
    const canvas = new OffscreenCanvas(8, 1);
    const context = canvas.getContext("2d", {willReadFrequently: true});
    const seen = {own: [], result: []};
    const read = (video) => {
        const side = %f * video.videoWidth;
        context.drawImage(video, %f * video.videoWidth, %f * video.videoHeight, 8 * side, side, 0, 0, 8, 1);
        const data = context.getImageData(0, 0, 8, 1).data;
        let code = 0;
        for (let bit = 0; bit < 8; bit += 1) code = code * 2 + (data[4 * bit + 1] > 128 ? 1 : 0);
        return code;
    };
    for (const name of Object.keys(seen)) {
        const video = document.getElementById(name);
        const next = (now) => { seen[name].push([now, read(video)]); video.requestVideoFrameCallback(next); };
        video.requestVideoFrameCallback(next);
    }
    setTimeout(() => resolve(seen), seconds * 1000);
})"""


UNCOVER = """() => {
    const slider = document.getElementById("split");
    slider.value = 30;
    slider.dispatchEvent(new Event("input"));
}"""
"""A camera's image that is covered wholly gives black."""


def memory(process: int) -> float | None:
    """Resident memory of a process in MB (Linux)."""
    try:
        text = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    except OSError:
        return None
    return round(int(text.partition("VmRSS:")[2].split()[0]) / 1024, 1)


def camera_file(path: Path, size: tuple[int, int], *, counted: bool = True) -> None:
    """A video of the sample's person at a size, thirty frames a second; ``counted``: with a counter on the body."""
    width, height = size
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", "30", "-i", "-"]
    command = [
        "ffmpeg",
        "-loglevel",
        "error",
        "-y",
        *raw,
        "-c:v",
        "mjpeg",
        "-pix_fmt",
        "yuvj420p",
        "-q:v",
        "3",
        str(path),
    ]
    writer = subprocess.Popen(command, stdin=subprocess.PIPE)
    with av.open(str(SAMPLE)) as video:
        images = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    side = round(SQUARE * width)
    for index in range(FRAMES):
        image = images[index % len(images)]
        wide = round(image.shape[0] * width / height)
        left = max(0, image.shape[1] - wide) // 2
        image = cv2.resize(image[:, left : left + wide], size, interpolation=cv2.INTER_AREA)
        for bit in range(8 if counted else 0):
            x, y = round(PLACE[0] * width) + bit * side, round(PLACE[1] * height)
            image[y : y + side, x : x + side] = 235 if (index >> (7 - bit)) & 1 else 20
        if writer.stdin is not None:
            writer.stdin.write(np.ascontiguousarray(image).tobytes())
    if writer.stdin is not None:
        writer.stdin.close()
    writer.wait()


def delays(seen: dict[str, list[list[float]]]) -> list[float]:
    """Milliseconds from a number on the camera's image to the same number on the returned one."""
    found, own = [], seen["own"]
    for shown, code in seen["result"]:
        same = [moment for moment, number in own if number == code and 0 <= shown - moment < 2000]
        if same:
            found.append(shown - max(same))
    return found


def measure(page: Any, seconds: float) -> dict[str, Any]:
    """Watch a page that runs; gives plain figures."""
    before = page.evaluate("() => fetch('/api/state').then((answer) => answer.json())")["session"]
    seen = page.evaluate(WATCH % (SQUARE, *PLACE), seconds)
    after = page.evaluate("() => fetch('/api/state').then((answer) => answer.json())")["session"]
    found = sorted(delays(seen))
    return {
        "seconds": seconds,
        "camera_frames": len(seen["own"]),
        "shown_frames": len(seen["result"]),
        "matted_frames": after["frames"] - before["frames"],
        "drops": after["drops"] - before["drops"],
        "network": after["size"],
        "numbers_read": len({code for _, code in seen["result"]}),
        "matched": len(found),
        "latency_ms": {"p50": round(statistics.median(found), 1), "p95": round(found[int(len(found) * 0.95)], 1)}
        if found
        else None,
        "server_ms": after["recent_ms"],
        "cpu_cores": after["cpu"],
    }


def main(arguments: list[str]) -> int:
    """Measure and print JSON."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--screenshots", type=Path)
    given, more = parser.parse_known_args(arguments)
    width, height = map(int, given.size.split("x"))
    command = [sys.executable, "-m", "streammatte", "studio", "--no-open", "--port", "0", "--json", *more]
    with tempfile.TemporaryDirectory() as folder:
        camera_file(Path(folder) / "camera.mjpeg", (width, height))
        studio = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            url = json.loads(studio.stdout.readline() if studio.stdout else "{}")["url"]
            with sync_playwright() as playwright:
                flags = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", "--no-sandbox"]
                flags.append(f"--use-file-for-fake-video-capture={folder}/camera.mjpeg")
                browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
                page = browser.new_page(viewport={"width": 1280, "height": 900})
                page.goto(url)
                page.wait_for_selector("#backgrounds button")
                page.select_option("#size", given.size)
                page.click("#backgrounds button[data-name='#1f2a3a']")
                page.click("#start")
                page.wait_for_function("() => document.getElementById('result').videoWidth > 0", timeout=60_000)
                page.wait_for_timeout(12_000)  # the network's size settles
                page.evaluate(UNCOVER)
                before = memory(studio.pid)
                figures = measure(page, given.seconds)
                figures["memory_mb"] = {"before": before, "after": memory(studio.pid)}
                if given.screenshots is not None:
                    given.screenshots.mkdir(parents=True, exist_ok=True)
                    page.screenshot(path=given.screenshots / "studio.png")
                browser.close()
        finally:
            studio.terminate()
            studio.wait(30)
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
