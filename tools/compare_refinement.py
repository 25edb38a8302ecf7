"""Compare ways from the network's small matte to the image's size, on videos whose alpha is known.

    python tools/compare_refinement.py FOLDER [--every N] [--sizes 720,1080]

FOLDER has NAME/frames.mp4 and NAME/alpha.mkv. Images and truths are scaled to the wanted short side first. Printed
are MAD x 1000 in the band (7 pixels around 0.02 < alpha < 0.98), Grad / 1000, their change against bilinear, and
the median milliseconds of a frame on one core.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from streammatte.engines import open_engine
from streammatte.evaluation import grad
from streammatte.frames import F32, U8, Frame, Layout
from streammatte.kernels.refine import apply_models, mean_models, solve_models
from streammatte.kernels.rows import frame_taps
from streammatte.matting.preprocess import Preparer, resize_plane
from streammatte.matting.refine import Refiner, enlarge
from streammatte.network_size import fit_to
from streammatte.sources import open_source

Way = Callable[["Case"], U8]


@dataclass
class Case:
    """A frame with its small matte and its true one."""

    video: str
    frame: Frame
    planes: tuple[U8, ...]
    small: F32
    truth: U8

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image."""
        return self.frame.height, self.frame.width

    def guide(self) -> tuple[U8, U8, U8]:
        """The image's components at the small matte's size."""
        h, w = self.small.shape
        first, second, third = (cv2.resize(plane, (w, h), interpolation=cv2.INTER_AREA) for plane in self.planes)
        return first, second, third


def _scaled(frame: Frame, short: int) -> Frame:
    scale = short / min(frame.width, frame.height)
    width, height = (2 * round(side * scale / 2) for side in (frame.width, frame.height))
    sizes = ((height, width), (height // 2, width // 2), (height // 2, width // 2))
    planes = tuple(
        resize_plane(np.ascontiguousarray(plane), size) for plane, size in zip(frame.planes, sizes, strict=True)
    )
    return Frame(planes, Layout.YUV420, frame.pts, frame.time_base, frame.color)


def cases(folder: Path, every: int, short: int) -> Iterator[Case]:
    """Every so many frames of every video."""
    for video in sorted(path for path in folder.iterdir() if (path / "alpha.mkv").is_file()):
        images, truths = (open_source(video / name, tracks=False) for name in ("frames.mp4", "alpha.mkv"))
        size = fit_to(images.info.width, images.info.height, 512)
        engine, preparer = open_engine(size=size.padded, throughput=False), Preparer(size.content, size.padded)
        for number, (full, truth) in enumerate(zip(images.frames(), truths.frames(), strict=True)):
            if number % every:
                continue
            frame = _scaled(full, short)
            image = np.empty((1, *size.padded, 3), np.uint8)
            planes = preparer.prepare(frame, image[0])
            small = preparer.crop(engine.submit(image).result()[0]).copy()
            alpha = resize_plane(np.ascontiguousarray(truth.planes[0]), (frame.height, frame.width))
            yield Case(video.name, frame, planes, small, alpha)
        for opened in (engine, images, truths):
            opened.close()


def luma_guided(radius: int, epsilon: float) -> Way:
    """The fast guided filter with luma alone; ``epsilon`` in levels squared."""

    def mean(values: F32) -> F32:
        return np.asarray(cv2.blur(values, (2 * radius + 1,) * 2, borderType=cv2.BORDER_REPLICATE), np.float32)

    def run(case: Case) -> U8:
        guide, alpha = case.guide()[0].astype(np.float32), case.small * np.float32(255)
        centre, level = mean(guide), mean(alpha)
        slope = (mean(guide * alpha) - centre * level) / (mean(guide * guide) - centre * centre + np.float32(epsilon))
        slope, offset = mean(slope), mean(level - slope * centre)
        size = case.size[::-1]
        full = cv2.resize(slope, size) * case.frame.planes[0] + cv2.resize(offset, size)
        return np.clip(full + np.float32(0.5), 0, 255).astype(np.uint8)

    return run


def colour_guided(epsilon: float, doubt: float) -> Way:
    """The product's kernels with other constants."""

    def run(case: Case) -> U8:
        models = mean_models(*solve_models(np.ascontiguousarray(case.small), case.guide(), epsilon, doubt))
        first, second, third = case.frame.planes
        return apply_models(models, (first, second, third), (1, 1), frame_taps(case.size, case.small.shape))

    return run


def joint_bilateral(reach: int, spread: float) -> Way:
    """Joint bilateral upsampling (Kopf et al. 2007): cells around, weighted by distance and by likeness of luma."""

    def run(case: Case) -> U8:
        height, width = case.size
        h, w = case.small.shape
        rows, columns = (np.arange(height) + 0.5) * h / height - 0.5, (np.arange(width) + 0.5) * w / width - 0.5
        luma, guide = case.frame.planes[0].astype(np.float32), case.guide()[0].astype(np.float32)
        total, share = np.zeros(case.size, np.float32), np.zeros(case.size, np.float32)
        for j in range(-reach, reach + 1):
            y = np.clip(np.rint(rows).astype(int) + j, 0, h - 1)
            for i in range(-reach, reach + 1):
                x = np.clip(np.rint(columns).astype(int) + i, 0, w - 1)
                near = np.exp(-0.5 * ((y - rows)[:, None] ** 2 + (x - columns) ** 2)).astype(np.float32)
                near *= np.exp(np.square(luma - guide[np.ix_(y, x)]) * np.float32(-0.5 / spread**2))
                near += np.float32(1e-6)
                total += near * case.small[np.ix_(y, x)]
                share += near
        return np.rint(total / share * 255).astype(np.uint8)

    return run


def product(mode: str) -> Way:
    """What ``--refine`` does."""
    refiner = Refiner(mode)
    return lambda case: refiner.refine(case.small, case.frame, case.planes)


WAYS: dict[str, Way] = {
    "bilinear": lambda case: enlarge(case.small, case.size),
    "luma guide, radius 1, eps 10": luma_guided(1, 10),
    "luma guide, radius 1, eps 65": luma_guided(1, 65),
    "luma guide, radius 2, eps 65": luma_guided(2, 65),
    "luma guide, radius 4, eps 65": luma_guided(4, 65),
    "luma guide, radius 4, eps 650": luma_guided(4, 650),
    "joint bilateral, 5x5, 10 levels": joint_bilateral(2, 10),
    "joint bilateral, 5x5, 30 levels": joint_bilateral(2, 30),
    "colour guide, eps 2, unweighted": colour_guided(2, 100),
    "colour guide, eps 0.65": colour_guided(0.65, 0.07),
    "colour guide, eps 20": colour_guided(20, 0.07),
    "colour guide, eps 65": colour_guided(65, 0.07),
    "**--refine fast** (colour, eps 2)": product("fast"),
    "**--refine best** (twice)": product("best"),
}


def main() -> int:
    """Print a table a size."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=10, help="take every so many frames")
    parser.add_argument("--sizes", default="720,1080", help="short sides of the image")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    for short in (int(size) for size in arguments.sizes.split(",")):
        _table(short, list(cases(arguments.folder, arguments.every, short)))
    return 0


def _table(short: int, items: list[Case]) -> None:
    videos = sorted({case.video for case in items})
    sys.stdout.write(f"\nShort side {short}, {len(items)} frames of {len(videos)} videos\n\n")
    sys.stdout.write("| way | band MAD x 1000 | Grad / 1000 | ms |\n|---|---|---|---|\n")
    kernel = np.ones((15, 15), np.uint8)
    bands = [cv2.dilate(((case.truth > 5) & (case.truth < 250)).astype(np.uint8), kernel) > 0 for case in items]
    base = None
    for name, way in WAYS.items():
        way(items[0])
        scores: dict[str, list[tuple[float, float]]] = {video: [] for video in videos}
        spent = []
        for case, band in zip(items, bands, strict=True):
            began = time.perf_counter()
            found = way(case)
            spent.append((time.perf_counter() - began) * 1000)
            wrong = np.abs(found.astype(np.float32) - case.truth)[band].mean() / 255 * 1000
            scores[case.video].append((float(wrong), grad(found, case.truth)))
        mean = np.mean([np.mean(values, axis=0) for values in scores.values()], axis=0)
        base = mean if base is None else base
        change = 100 * (mean / base - 1)
        sys.stdout.write(
            f"| {name} | {mean[0]:.1f} ({change[0]:+.1f} %) | {mean[1]:.2f} ({change[1]:+.1f} %) "
            f"| {np.median(spent):.1f} |\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
