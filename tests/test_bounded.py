"""Nothing grows with the length of a video, whatever its source and its sink."""

import gc
import os
import weakref
from fractions import Fraction
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import pytest
from PIL import Image
from support.videos import make_video

from streammatte.build import build_background, build_pipeline
from streammatte.frames import Frame, Layout, Matte, plane_shapes
from streammatte.options.video import VideoOptions
from streammatte.runtime import release_memory
from streammatte.sinks import MemorySink
from streammatte.sources import open_source
from streammatte.sources.live_factory import open_live_source
from streammatte.tracks import TrackFeed

FRAMES, EVERY = 300, 20
WIDTH, HEIGHT = 64, 48
BASE = Fraction(1, 25)
SOURCES = ["aac.mp4", "opus.mkv", "subrip.mkv", "aac.ts", "pcm.mov", "mp3.avi", "vp9.webm", "folder", "%04d.png"]
SOURCES += ["a.gif", "a.apng", "a.webp"]
SINKS = ["o.mp4", "o.mkv", "o.mov", "o.webm", "o.gif", "o_%04d.png", "folder/", "null", "o.mp4+alpha.mkv"]


def image(index, width, height):
    shown = np.zeros((height, width, 3), np.uint8)
    shown[:, : 1 + index % width] = 200
    return shown


def write(folder, name):
    """A source of ``FRAMES`` frames, 25 a second."""
    facts = {"width": WIDTH, "height": HEIGHT, "frames": FRAMES, "image": image}
    if name in ("folder", "%04d.png"):
        for index in range(FRAMES):
            cv2.imwrite(str(folder / f"{index:04d}.png"), image(index, WIDTH, HEIGHT))
        return folder if name == "folder" else folder / name
    path = folder / name
    if name == "a.gif":
        return make_video(path, codec="gif", pix_fmt="rgb8", **facts)
    if name in ("a.apng", "a.webp"):
        first, *rest = (Image.fromarray(image(index, WIDTH, HEIGHT)) for index in range(FRAMES))
        kind = "PNG" if name == "a.apng" else "WEBP"
        first.save(path, kind, save_all=True, append_images=rest, duration=40, loop=0)
        return path
    kind = name.partition(".")[0]
    encoders = {"opus": "libopus", "pcm": "pcm_s16le", "mp3": "libmp3lame", "subrip": "aac", "vp9": "libopus"}
    audio = encoders.get(kind, kind)
    codec = {"vp9": "libvpx-vp9", "mp3": "mpeg4"}.get(kind, "libx264")
    return make_video(path, audio=audio, codec=codec, subtitles="subrip" if kind == "subrip" else None, **facts)


class Watch:
    """A matting stage that counts what is held while frames pass."""

    def __init__(self):
        self.frames, self.held, self.feed = 0, [], None
        self._seen = []

    def process(self, item):
        self.frames += 1
        self._seen = [seen for seen in self._seen if seen() is not None] + [weakref.ref(item.planes[0])]
        if self.frames % EVERY == 0:
            self.held.append((len(self._seen), 0 if self.feed is None else len(self.feed._packets)))
        alpha = np.full((item.height, item.width), 255, np.uint8)
        return [Matte(item, alpha, np.ones((16, 16), np.float32))]

    def drain(self):
        return []

    def reset(self):
        pass

    def close(self):
        pass


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    made = {}

    def give(name):
        if name not in made:
            made[name] = write(tmp_path_factory.mktemp("source"), name)
        return made[name]

    return give


@pytest.mark.slow
@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize("source", SOURCES)
def test_nothing_grows_with_the_length_of_a_video(sources, tmp_path, monkeypatch, source, sink):
    watch = Watch()
    put = TrackFeed.put

    def watched(feed, packet):
        watch.feed = feed
        put(feed, packet)

    monkeypatch.setattr(TrackFeed, "put", watched)
    name, _, alpha = sink.partition("+")
    target = None if sink == "null" else f"{tmp_path}/{name}"
    if name == "folder/":
        (tmp_path / "folder").mkdir()
    options = VideoOptions.build(None, alpha=f"{tmp_path}/{alpha}" if alpha else None, refine="off", background="red")
    null = MemorySink()
    null.process = lambda item: []
    pipeline = build_pipeline(
        str(sources(source)), target, options, matter=watch, sink=null if sink == "null" else None
    )
    pipeline.run()
    assert watch.frames == FRAMES
    half = len(watch.held) // 2
    for what, held in zip(("frames", "packets"), zip(*watch.held, strict=True), strict=True):
        # Medians: a queue may be full for a moment on a busy machine; what is kept is there in every sample after.
        assert median(held[half:]) - median(held[1:half]) <= 12, f"{what} pile up"


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory as Linux shows it")
@pytest.mark.parametrize("what", ["source", "background", "camera"])
def test_opening_again_and_again_leaks_nothing_without_the_garbage_collector(tmp_path, what):
    path = str(make_video(tmp_path / "a.mp4", width=1280, height=720, frames=3, options={"preset": "ultrafast"}))
    planes = tuple(np.zeros(shape, np.uint8) for shape in plane_shapes(Layout.YUV420, 96, 64))
    frame = Frame(planes, Layout.YUV420, 0, BASE)
    matte = Matte(frame, np.zeros((64, 96), np.uint8), np.zeros((16, 16), np.float32))

    def source():
        opened = open_source(path)
        next(opened.frames())
        opened.close()

    def background():
        opened = build_background(path, "cover")
        opened.planes(matte)
        opened.reset()
        opened.planes(matte)
        opened.close()

    def camera():
        opened = open_live_source(path, loop=True)
        next(opened.frames())
        opened.close()

    act = {"source": source, "background": background, "camera": camera}[what]
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            act()
        before = resident()
        for _ in range(40):
            act()
        assert resident() - before < 5
    finally:
        gc.enable()


def resident():
    """Resident megabytes, without what is free already and only lies between what other tests of the process left."""
    release_memory()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
