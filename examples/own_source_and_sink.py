"""Frames made by a program go in, composites come out as arrays; the matting stage is the package's own."""

from fractions import Fraction

import cv2
import numpy as np

from streammatte import Pipeline
from streammatte.build import build_compositor, build_matter
from streammatte.frames import ColorSpec, Frame, Layout, StreamInfo
from streammatte.options.video import VideoOptions

SRGB = ColorSpec(full_range=True)


class Zoom:
    """A source: a slow zoom into an image."""

    def __init__(self, path: str, frames: int) -> None:
        self._image = cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)
        self._frames = frames
        height, width = self._image.shape[:2]
        self.info = StreamInfo(width, height, Layout.RGB, Fraction(1, 25), rate=Fraction(25), color=SRGB)

    def frames(self):
        """Give frames in order."""
        height, width = self._image.shape[:2]
        for index in range(self._frames):
            matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 0, 1 + index / 100)
            rgb = cv2.warpAffine(self._image, matrix, (width, height))
            yield Frame((rgb,), Layout.RGB, index, Fraction(1, 25), SRGB, index)

    def close(self) -> None:
        """Nothing is held open."""


class Collect:
    """A sink: keeps the frames it is given."""

    def __init__(self) -> None:
        self.frames: list[np.ndarray] = []

    def open(self, info) -> None:
        """Nothing to prepare."""

    def process(self, item):
        """Keep one frame."""
        self.frames.append(item.to_rgb().copy())
        return []

    def drain(self):
        """Nothing is held back."""
        return []

    def close(self) -> None:
        """Nothing to publish."""

    def abort(self) -> None:
        """Forget the frames."""
        self.frames.clear()


def main() -> None:
    """Run the pipeline and say what came out."""
    options = VideoOptions(background="#203040", size=256)
    source, sink = Zoom("samples/studio.jpg", 10), Collect()
    matter = build_matter(source.info, options)
    compositor = build_compositor(options, options.background)
    Pipeline(source, matter, compositor, sink, closing=(matter.close, compositor.close)).run()
    print(f"{len(sink.frames)} frames of {sink.frames[0].shape}")


if __name__ == "__main__":
    main()
