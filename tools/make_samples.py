"""Makes everything in samples/ from free material: ``python tools/make_samples.py samples``.

The person is NASA's portrait of Eileen Collins (public domain), which scikit-image ships; she is cut out with the
embedded network and closed-form matting and sways before a drawn room to a chord of sines. The backgrounds are drawn.
"""

from __future__ import annotations

import argparse
import math
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

WIDTH, HEIGHT, RATE, SECONDS = 1280, 720, 30, 5
SAMPLE_RATE = 44100
SEED = 7


def noise(height: int, width: int, octaves: int, rng: np.random.Generator) -> Floats:
    """Smooth noise in [-1, 1]: octaves of enlarged random grids, each half as strong as the coarser one."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        cells = 2 ** (octave + 2)
        grid = rng.uniform(-1, 1, (cells, cells * 2)).astype(np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) / 2**octave
    return np.clip(total / 2, -1, 1)


def gradient(height: int, width: int, stops: list[tuple[float, tuple[int, int, int]]]) -> Floats:
    """A vertical gradient through (position, RGB) stops."""
    rows = np.linspace(0, 1, height)
    places = [place for place, _ in stops]
    columns = [np.interp(rows, places, [colour[channel] for _, colour in stops]) for channel in range(3)]
    return np.repeat(np.stack(columns, axis=1)[:, None, :], width, axis=1).astype(np.float32)


def beach(height: int, width: int) -> Image:
    """Sky with clouds, a sea with glitter, sand with ripples."""
    rng = np.random.default_rng(SEED)
    horizon, shore = int(height * 0.46), int(height * 0.72)
    image = gradient(
        height,
        width,
        [
            (0.0, (58, 128, 205)),
            (0.40, (168, 208, 236)),
            (0.459, (236, 228, 206)),
            (0.46, (22, 96, 140)),
            (0.66, (48, 160, 176)),
            (0.72, (196, 222, 210)),
            (0.735, (214, 190, 146)),
            (1.0, (232, 208, 164)),
        ],
    )
    clouds = np.clip(noise(horizon, width, 6, rng) * 1.6 - 0.25, 0, 1)[:, :, None]
    image[:horizon] += (252 - image[:horizon]) * clouds * 0.85
    rows = np.arange(horizon, shore, dtype=np.float32)[:, None]
    depth = (rows - horizon) / (shore - horizon)
    waves = np.sin(rows * (1.6 - depth) + 9 * noise(shore - horizon, width, 5, rng))
    image[horizon:shore] += (waves * 9 * (0.3 + depth))[:, :, None]
    image[shore:] += noise(height - shore, width, 7, rng)[:, :, None] * 14
    image[shore:] += rng.normal(0, 3, (height - shore, width, 1))
    return np.clip(image, 0, 255).astype(np.uint8)


def studio(height: int, width: int) -> Image:
    """A dark wall lit from two sides, warm and blue, with a bokeh of lamps."""
    rng = np.random.default_rng(SEED + 1)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32) / height
    image = np.full((height, width, 3), (24, 22, 30), np.float32)
    for x, y, reach, colour in ((0.2, 0.3, 0.7, (150, 84, 40)), (1.6, 0.5, 0.8, (40, 70, 150))):
        glow = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / reach**2)
        image += glow[:, :, None] * np.asarray(colour, np.float32)
    for _ in range(26):
        x, y, radius = rng.uniform(0, width), rng.uniform(0, height * 0.8), rng.uniform(0.015, 0.05) * height
        layer = np.zeros((height, width), np.float32)
        cv2.circle(layer, (int(x), int(y)), int(radius), 1.0, -1, cv2.LINE_AA)
        tint = np.asarray((255, 200, 130), np.float32) * rng.uniform(0.15, 0.45)
        image += cv2.GaussianBlur(layer, (0, 0), radius / 8)[:, :, None] * tint
    image += rng.normal(0, 1.2, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def room(height: int, width: int) -> Image:
    """The room she sits in: a wall, a window, a shelf with books, a plant."""
    rng = np.random.default_rng(SEED + 2)
    image = gradient(
        height, width, [(0, (196, 188, 176)), (0.78, (178, 168, 154)), (0.781, (104, 84, 66)), (1, (78, 62, 50))]
    )
    image += noise(height, width, 7, rng)[:, :, None] * 5
    left, top, right, bottom = (int(v) for v in (width * 0.05, height * 0.08, width * 0.30, height * 0.62))
    image[top:bottom, left:right] = gradient(bottom - top, right - left, [(0, (190, 216, 240)), (1, (232, 238, 226))])
    for x in (left, (left + right) // 2, right):
        cv2.line(image, (x, top), (x, bottom), (236, 232, 226), 12, cv2.LINE_AA)
    for y in (top, (top + bottom) // 2, bottom):
        cv2.line(image, (left, y), (right, y), (236, 232, 226), 12, cv2.LINE_AA)
    for shelf in (0.30, 0.55):
        base = int(height * shelf)
        cv2.rectangle(image, (int(width * 0.66), base), (int(width * 0.97), base + 12), (112, 82, 56), -1)
        x = width * 0.67
        while x < width * 0.95:
            thick, tall = rng.uniform(12, 30), rng.uniform(0.11, 0.19) * height
            colour = tuple(float(c) for c in rng.uniform(40, 190, 3))
            cv2.rectangle(image, (int(x), int(base - tall)), (int(x + thick), base), colour, -1)
            x += thick + rng.uniform(1, 4)
    return np.clip(cv2.GaussianBlur(image, (0, 0), 1.6) + rng.normal(0, 2, image.shape), 0, 255).astype(np.uint8)


def person() -> tuple[Floats, Floats]:
    """(foreground (512, 512, 3) in [0, 255], alpha (512, 512) in [0, 1]) of the portrait."""
    from pymatting import estimate_alpha_cf, estimate_foreground_ml
    from skimage import data

    import streammatte

    image = np.ascontiguousarray(data.astronaut())
    rough = streammatte.matte_image(image, precision="f32").alpha
    rough = np.where(largest_part(rough > 0.5), rough, 0)
    sure = cv2.erode((rough > 0.95).astype(np.uint8), np.ones((15, 15), np.uint8))
    maybe = cv2.dilate((rough > 0.05).astype(np.uint8), np.ones((17, 17), np.uint8))
    trimap = np.where(sure > 0, 1.0, np.where(maybe > 0, 0.5, 0.0))
    alpha = estimate_alpha_cf(image / 255.0, trimap)
    foreground = estimate_foreground_ml(image / 255.0, alpha)
    return (foreground * 255).astype(np.float32), alpha.astype(np.float32)


def largest_part(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The largest connected part of a mask, grown by a few pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    part = labels == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    return cv2.dilate(part.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0


def placed(time: float) -> npt.NDArray[np.float64]:
    """The 2x3 map from the portrait to the frame at ``time``: she sways, leans and comes a little nearer."""
    scale = 1.28 + 0.05 * math.sin(2 * math.pi * time / 5)
    angle = math.radians(2.2 * math.sin(2 * math.pi * time / 2.5))
    x = WIDTH * (0.52 + 0.035 * math.sin(2 * math.pi * time / 5 + 0.6))
    y = HEIGHT * (1.02 + 0.008 * math.sin(2 * math.pi * time / 1.7))
    turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    anchor = np.array([220.0, 512.0])
    return np.hstack([turn, (np.array([x, y]) - turn @ anchor)[:, None]])


def frames() -> list[Image]:
    """The clip's images."""
    foreground, alpha = person()
    behind = room(HEIGHT, WIDTH).astype(np.float32)
    rng = np.random.default_rng(SEED + 3)
    premultiplied = np.dstack([foreground * alpha[:, :, None], alpha * 255])
    images = []
    for number in range(RATE * SECONDS):
        layer = cv2.warpAffine(premultiplied, placed(number / RATE), (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC)
        mixed = layer[:, :, :3] + behind * (1 - np.clip(layer[:, :, 3:], 0, 255) / 255)
        images.append(np.clip(mixed + rng.normal(0, 1.0, mixed.shape), 0, 255).astype(np.uint8))
    return images


def chord() -> npt.NDArray[np.float32]:
    """Five seconds of a soft chord, stereo, float32 (2, samples)."""
    times = np.arange(SECONDS * SAMPLE_RATE) / SAMPLE_RATE
    voices = [
        np.sin(2 * np.pi * pitch * times + 0.3 * np.sin(2 * np.pi * 5 * times)) for pitch in (220.0, 277.2, 329.6)
    ]
    envelope = np.minimum(1, np.minimum(times, SECONDS - times) / 0.3)
    left = sum(voices[:2]) * envelope * 0.12
    right = sum(voices[1:]) * envelope * 0.12
    return np.stack([left, right]).astype(np.float32)


def write_clip(path: Path) -> None:
    """H.264 and AAC in MP4, BT.709 tagged."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=Fraction(RATE), options={"crf": "23", "preset": "slow"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        context = video.codec_context
        context.color_range, context.colorspace, context.color_primaries, context.color_trc = 1, 1, 1, 1
        audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="stereo")
        audio.bit_rate = 96_000
        for image in frames():
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(video.encode(frame.reformat(format="yuv420p", dst_colorspace=1, dst_color_range=1)))
        container.mux(video.encode(None))
        samples = chord()
        for start in range(0, samples.shape[1], 1024):
            part = av.AudioFrame.from_ndarray(samples[:, start : start + 1024], format="fltp", layout="stereo")
            part.sample_rate, part.pts, part.time_base = SAMPLE_RATE, start, Fraction(1, SAMPLE_RATE)
            container.mux(audio.encode(part))
        container.mux(audio.encode(None))


def main() -> None:
    """Write the samples."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where to write, usually samples/")
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in (("beach.jpg", beach(1080, 1920)), ("studio.jpg", studio(1080, 1920))):
        cv2.imwrite(str(folder / name), image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    write_clip(folder / "person.mp4")


if __name__ == "__main__":
    main()
