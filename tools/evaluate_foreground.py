"""Compare ways to find the foreground's colour, and despill, on composites whose F, B and alpha are known.

    python tools/evaluate_foreground.py FOLDER [--limit N]

FOLDER has NAME.jpg, NAME_alpha.png, NAME_fg.jpg. Printed are the MSE of F in the band (0.02 < alpha < 0.98, levels
squared), the MSE of the composite over white, black and red, against alpha F + (1 - alpha) B', and milliseconds.
Alpha is the true one, and the network's. Despill: F gets a green screen behind it, whose light falls on its edges.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from streammatte.compositing.backgrounds import Original
from streammatte.compositing.compositor import StreamCompositor
from streammatte.compositing.despill import SCREENS, edge_weights
from streammatte.compositing.foreground import estimate_multilevel, estimate_small
from streammatte.engines import open_engine
from streammatte.frames import F32, U8, Frame, Layout, Matte
from streammatte.kernels.blend import PlaneEstimate, foreground_plane
from streammatte.kernels.fusion import fuse, premultiply
from streammatte.matting.preprocess import Preparer, resize_plane
from streammatte.matting.refine import Refiner
from streammatte.network_size import fit_to

Estimator = Callable[[tuple[U8, ...], F32], tuple[PlaneEstimate, ...]]

GROUNDS = ((255, 255, 255), (0, 0, 0), (230, 20, 30))
SPILL = 0.3
"""Light of the screen that is added at the edge, of the screen's own."""


@dataclass
class Case:
    """An image, its truth, and a matte."""

    image: U8
    fore: U8
    truth: U8
    alpha: U8
    small: F32

    @property
    def matte(self) -> Matte:
        """The case as the compositor takes it."""
        frame = Frame((self.image,), Layout.RGB, 0, Fraction(1))
        return Matte(frame, self.alpha, self.small)


def _rgb(path: Path) -> U8:
    return np.asarray(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), np.uint8)


class Network:
    """The embedded network at 512, refined fast."""

    def __init__(self) -> None:
        self._engines: dict[tuple[int, int], object] = {}

    def __call__(self, rgb: U8) -> tuple[U8, F32]:
        """The matte at the image's size and at the network's."""
        size = fit_to(rgb.shape[1], rgb.shape[0], 512)
        if size.padded not in self._engines:
            self._engines[size.padded] = open_engine(size=size.padded, throughput=False)
        image = np.empty((1, *size.padded, 3), np.uint8)
        frame = Frame((rgb,), Layout.RGB, 0, Fraction(1))
        preparer = Preparer(size.content, size.padded)
        planes = preparer.prepare(frame, image[0])
        small = preparer.crop(self._engines[size.padded].submit(image).result()[0]).copy()  # type: ignore[attr-defined]
        return Refiner("fast").refine(small, frame, planes), small


def cases(folder: Path, limit: int, network: Network | None, screen: str | None) -> Iterator[Case]:
    """The data set's images, with the true matte where no network is given, in front of a screen where one is."""
    for path in sorted(folder.glob("*_alpha.png"))[:limit]:
        name = path.name.removesuffix("_alpha.png")
        image, fore = _rgb(folder / f"{name}.jpg"), _rgb(folder / f"{name}_fg.jpg")
        truth = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if screen is not None:
            image = _before_screen(fore, truth, SCREENS[screen])
        if network is not None:
            alpha, small = network(image)
        else:
            alpha, small = truth, _shrunk(truth)
        yield Case(image, fore, truth, alpha, small)


def _shrunk(truth: U8) -> F32:
    height, width = fit_to(truth.shape[1], truth.shape[0], 512).content
    small = cv2.resize(truth, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / np.float32(255)


def _before_screen(fore: U8, truth: U8, color: tuple[int, int, int]) -> U8:
    alpha = truth[..., None] / 255
    key = np.array(color, np.float64)
    near = cv2.resize(edge_weights(_shrunk(truth)), truth.shape[::-1])[..., None] ** 2
    lit = fore + SPILL * near * key
    return np.clip(np.rint(alpha * lit + (1 - alpha) * key), 0, 255).astype(np.uint8)


def forte_once(planes: tuple[U8, ...], alpha: F32) -> tuple[PlaneEstimate, ...]:
    """One pass of Forte and Pitie's blur fusion, wide."""
    radius = round(6 / 256 * max(alpha.shape))

    def blur(values: F32) -> F32:
        return np.asarray(cv2.blur(values, (2 * radius + 1,) * 2, borderType=cv2.BORDER_REPLICATE), np.float32)

    estimates = []
    for plane in planes:
        values, weighted = premultiply(plane, alpha)
        estimates.append(fuse(values, alpha, blur(values), blur(weighted), blur(alpha))[:2])
    return tuple(estimates)


def straight(case: Case, estimator: Estimator | None) -> U8:
    """F by an estimator; without one the image itself."""
    if estimator is None:
        return case.image
    small = tuple(resize_plane(np.ascontiguousarray(plane), case.small.shape) for plane in cv2.split(case.image))
    estimates = estimator(small, np.ascontiguousarray(case.small))
    out = np.empty_like(case.image)
    for channel, estimate in enumerate(estimates):
        plane = np.ascontiguousarray(case.image[..., channel])
        found = np.empty_like(plane)
        foreground_plane(found, plane, case.alpha, plane, estimate)
        out[..., channel] = found
    return out


def full_size(case: Case) -> U8:
    """F by the multi-level method at the image's own size."""
    from pymatting import estimate_foreground_ml

    found = estimate_foreground_ml(case.image / 255, case.alpha / 255)
    return np.clip(np.rint(found * 255), 0, 255).astype(np.uint8)


def despilled(mode: str, *, estimate: bool) -> Callable[[Case], U8]:
    """F as the product's compositor gives it."""
    compositor = StreamCompositor(Original(), foreground=estimate, want_foreground=True, despill=mode)

    def run(case: Case) -> U8:
        compositor.reset()
        foreground = compositor.process(case.matte)[0].foreground
        return case.image if foreground is None else foreground.planes[0]

    return run


def errors(case: Case, found: U8) -> tuple[float, float]:
    """MSE of F in the band, and of the composites."""
    band = (case.truth > 5) & (case.truth < 250)
    fore = found.astype(np.float64)
    alpha, truth = case.alpha[..., None] / 255, case.truth[..., None] / 255
    composite = 0.0
    for color in GROUNDS:
        ground = np.array(color, np.float64)
        wrong = (alpha * fore + (1 - alpha) * ground) - (truth * case.fore + (1 - truth) * ground)
        composite += float(np.square(wrong).mean()) / len(GROUNDS)
    return float(np.square(fore - case.fore)[band].mean()), composite


def table(title: str, items: list[Case], methods: dict[str, Callable[[Case], U8]]) -> None:
    """Print a line a method."""
    sys.stdout.write(f"\n{title}\n\n| way | F MSE in the band | composite MSE | ms |\n|---|---|---|---|\n")
    base: npt.NDArray[np.float64] | None = None
    for name, method in methods.items():
        method(items[0])
        scores, spent = [], []
        for case in items:
            began = time.perf_counter()
            found = method(case)
            spent.append((time.perf_counter() - began) * 1000)
            scores.append(errors(case, found))
        mean = np.mean(scores, axis=0)
        base = mean if base is None else base
        change = 100 * (mean / base - 1)
        sys.stdout.write(
            f"| {name} | {mean[0]:.1f} ({change[0]:+.0f} %) | {mean[1]:.2f} ({change[1]:+.0f} %) "
            f"| {np.median(spent):.1f} |\n"
        )


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, default=1000, help="images to take")
    arguments = parser.parse_args()
    network = Network()
    ways: dict[str, Callable[[Case], U8]] = {
        "none": lambda case: straight(case, None),
        "Forte, one pass": lambda case: straight(case, forte_once),
        "Forte, two passes (default)": lambda case: straight(case, estimate_small),
        "multi-level, network size (--refine best)": lambda case: straight(case, estimate_multilevel),
        "multi-level, full size": full_size,
    }
    for title, use in (("The true alpha", None), ("The network's alpha", network)):
        table(title, list(cases(arguments.folder, arguments.limit, use, None)), ways)
    spill = {
        "no estimation, no despill": despilled("off", estimate=False),
        "estimation": despilled("off", estimate=True),
        "estimation and --despill green": despilled("green", estimate=True),
        "estimation and --despill auto": despilled("auto", estimate=True),
    }
    for title, use in (("A green screen, the true alpha", None), ("A green screen, the network's alpha", network)):
        table(title, list(cases(arguments.folder, arguments.limit, use, "green")), spill)
    return 0


if __name__ == "__main__":
    sys.exit(main())
