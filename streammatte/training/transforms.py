"""Changes of a sample by name: sizes, crops, and the effects of cameras and encoders.

A sample is a dict of arrays of one size: ``image``, ``foreground`` and ``background`` (H, W, 3) uint8 RGB, ``alpha``
and ``trimap`` (H, W) uint8. Geometry changes all of them alike (the trimap without interpolation), light and colour
change the three images alike, and effects of the camera (noise, blur, compression) the image alone. Names and
numbers of those that PaddleSeg's Matting has are its.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from streammatte.errors import ConfigError
from streammatte.media.convert import compressed

__all__ = ["TRANSFORMS", "Sample", "Transform", "compose", "random_trimap"]

Sample = dict[str, npt.NDArray[np.uint8]]
Random = np.random.Generator
Transform = Callable[[Sample, Random], Sample]

TRANSFORMS: dict[str, type] = {}
"""By name: frozen dataclasses whose fields are the arguments; called with a sample and a generator."""

_IMAGES = ("image", "foreground", "background")


def compose(pairs: tuple[tuple[str, dict[str, Any]], ...]) -> list[Transform]:
    """The transforms that a recipe names. Raises ConfigError."""
    made = []
    for name, arguments in pairs:
        kind = TRANSFORMS.get(name)
        if kind is None:
            raise ConfigError(f"no transform is named {name!r}; known: {', '.join(sorted(TRANSFORMS))}")
        known = {field.name for field in fields(kind)}
        unknown = sorted(set(arguments) - known)
        if unknown:
            allowed = ", ".join(sorted(known)) or "none"
            raise ConfigError(f"transform {name} has no argument {', '.join(unknown)}; it has {allowed}")
        made.append(kind(**arguments))
    return made


def _register(cls: type) -> type:
    TRANSFORMS[cls.__name__] = dataclass(frozen=True)(cls)
    return TRANSFORMS[cls.__name__]


def _each(sample: Sample, change: Callable[[str, npt.NDArray[np.uint8]], Any]) -> Sample:
    return {name: np.ascontiguousarray(change(name, array)) for name, array in sample.items()}


def _images(sample: Sample, change: Callable[[npt.NDArray[np.uint8]], Any]) -> Sample:
    return _each(sample, lambda name, array: change(array) if name in _IMAGES else array)


def _image(sample: Sample, image: Any) -> Sample:
    return {**sample, "image": np.ascontiguousarray(image, np.uint8)}


def _size(sample: Sample) -> tuple[int, int]:
    """Height and width."""
    return sample["image"].shape[0], sample["image"].shape[1]


def _resized(sample: Sample, height: float, width: float) -> Sample:
    size = max(1, round(width)), max(1, round(height))
    if size == _size(sample)[::-1]:
        return sample
    smaller = size[0] * size[1] < sample["alpha"].size

    def change(name: str, array: npt.NDArray[np.uint8]) -> Any:
        if name == "trimap":
            return cv2.resize(array, size, interpolation=cv2.INTER_NEAREST)
        return cv2.resize(array, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)

    return _each(sample, change)


def _scaled(sample: Sample, by: float) -> Sample:
    height, width = _size(sample)
    return _resized(sample, height * by, width * by)


def _cropped(sample: Sample, top: int, left: int, height: int, width: int) -> Sample:
    return _each(sample, lambda _, array: array[top : top + height, left : left + width])


def _sizes(given: Any) -> list[tuple[int, int]]:
    """(width, height) pairs from one pair or several."""
    pairs = [given] if given and isinstance(given[0], int) else given
    try:
        return [(int(width), int(height)) for width, height in pairs]
    except (TypeError, ValueError):
        raise ConfigError(f"sizes are [width, height], or several of them; got {given!r}") from None


@_register
class LoadImages:
    """Images are read before the first transform; recipes name it as PaddleSeg's do."""

    def __call__(self, sample: Sample, random: Random) -> Sample:
        return sample


@_register
class Normalize:
    """Values become -1 to 1 after the last transform."""

    def __call__(self, sample: Sample, random: Random) -> Sample:
        return sample


@_register
class Resize:
    """To one size."""

    target_size: Any = (512, 512)

    def __call__(self, sample: Sample, random: Random) -> Sample:
        ((width, height),) = _sizes(self.target_size)
        return _resized(sample, height, width)


@_register
class ResizeByLong:
    """The longer side becomes ``long_size``."""

    long_size: int

    def __call__(self, sample: Sample, random: Random) -> Sample:
        return _scaled(sample, self.long_size / max(_size(sample)))


@_register
class ResizeByShort:
    """The shorter side becomes ``short_size``."""

    short_size: int

    def __call__(self, sample: Sample, random: Random) -> Sample:
        return _scaled(sample, self.short_size / min(_size(sample)))


@_register
class LimitLong:
    """The longer side is limited."""

    max_long: int | None = None
    min_long: int | None = None

    def __call__(self, sample: Sample, random: Random) -> Sample:
        return _scaled(sample, _limited(max(_size(sample)), self.min_long, self.max_long))


@_register
class LimitShort:
    """The shorter side is limited."""

    max_short: int | None = None
    min_short: int | None = None

    def __call__(self, sample: Sample, random: Random) -> Sample:
        return _scaled(sample, _limited(min(_size(sample)), self.min_short, self.max_short))


def _limited(side: int, low: int | None, high: int | None) -> float:
    if high is not None and side > high:
        return high / side
    return low / side if low is not None and side < low else 1.0


@_register
class ResizeToIntMult:
    """Both sides become multiples of ``mult_int``, by at most one of it smaller."""

    mult_int: int = 32

    def __call__(self, sample: Sample, random: Random) -> Sample:
        height, width = (max(self.mult_int, side - side % self.mult_int) for side in _size(sample))
        return _resized(sample, height, width)


@_register
class RandomResize:
    """By a random factor of what makes the image cover ``size``."""

    size: Any = None
    scale: Any = (1.0, 1.0)

    def __call__(self, sample: Sample, random: Random) -> Sample:
        height, width = _size(sample)
        base = 1.0
        if self.size is not None:
            ((wide, high),) = _sizes(self.size)
            base = max(wide / width, high / height)
        return _scaled(sample, base * random.uniform(*self.scale))


@_register
class RandomCrop:
    """A window of one of the sizes; of a smaller image what there is."""

    crop_size: Any = ((320, 320), (480, 480), (640, 640))

    def __call__(self, sample: Sample, random: Random) -> Sample:
        sizes = _sizes(self.crop_size)
        width, height = sizes[random.integers(len(sizes))]
        return _random_window(sample, height, width, random)


def _random_window(sample: Sample, height: int, width: int, random: Random) -> Sample:
    high, wide = _size(sample)
    top, left = random.integers(max(0, high - height) + 1), random.integers(max(0, wide - width) + 1)
    return _cropped(sample, int(top), int(left), height, width)


@_register
class RandomCropByAlpha:
    """A window of one of the sizes, with probability ``prob`` around a pixel of the transition."""

    crop_size: Any = ((320, 320), (480, 480), (640, 640))
    prob: float = 0.5

    def __call__(self, sample: Sample, random: Random) -> Sample:
        sizes = _sizes(self.crop_size)
        width, height = sizes[random.integers(len(sizes))]
        if random.random() >= self.prob:
            return _random_window(sample, height, width, random)
        rows, columns = np.nonzero((sample["alpha"] > 0) & (sample["alpha"] < 255))
        if not len(rows):
            return _random_window(sample, height, width, random)
        chosen = random.integers(len(rows))
        high, wide = _size(sample)
        top = min(max(0, int(rows[chosen]) - height // 2), max(0, high - height))
        left = min(max(0, int(columns[chosen]) - width // 2), max(0, wide - width))
        return _cropped(sample, top, left, height, width)


@_register
class Padding:
    """Right and below up to ``target_size``: the images with ``im_padding_value``, alpha and trimap with 0."""

    target_size: Any = (512, 512)
    im_padding_value: Any = (127.5, 127.5, 127.5)

    def __call__(self, sample: Sample, random: Random) -> Sample:
        ((width, height),) = _sizes(self.target_size)
        high, wide = _size(sample)
        below, right = max(0, height - high), max(0, width - wide)
        if not below and not right:
            return sample

        def change(name: str, array: npt.NDArray[np.uint8]) -> Any:
            value = tuple(self.im_padding_value) if name in _IMAGES else 0
            return cv2.copyMakeBorder(array, 0, below, 0, right, cv2.BORDER_CONSTANT, value=value)

        return _each(sample, change)


@_register
class RandomHorizontalFlip:
    """Mirrored with probability ``prob``."""

    prob: float = 0.5

    def __call__(self, sample: Sample, random: Random) -> Sample:
        return _each(sample, lambda _, array: array[:, ::-1]) if random.random() < self.prob else sample


@_register
class RandomBlur:
    """Gaussian blur of a kernel of 3 to 21 pixels with probability ``prob``."""

    prob: float = 0.1

    def __call__(self, sample: Sample, random: Random) -> Sample:
        if random.random() >= self.prob:
            return sample
        radius = 2 * int(random.integers(1, 11)) + 1
        return _image(sample, cv2.GaussianBlur(sample["image"], (radius, radius), 0))


@_register
class RandomDistort:
    """Brightness, contrast, saturation, hue and sharpness, each by a random factor with its own probability."""

    brightness_range: float = 0.5
    brightness_prob: float = 0.5
    contrast_range: float = 0.5
    contrast_prob: float = 0.5
    saturation_range: float = 0.5
    saturation_prob: float = 0.5
    hue_range: float = 18
    hue_prob: float = 0.5

    def __call__(self, sample: Sample, random: Random) -> Sample:
        for kind in random.permutation(["brightness", "contrast", "saturation", "hue"]):
            reach, prob = getattr(self, f"{kind}_range"), getattr(self, f"{kind}_prob")
            amount = random.uniform(-reach, reach) if kind == "hue" else random.uniform(1 - reach, 1 + reach)
            if random.random() < prob:
                mean = float(cv2.cvtColor(sample["image"], cv2.COLOR_RGB2GRAY).mean())
                sample = _images(sample, partial(_distorted, kind=str(kind), amount=float(amount), mean=mean))
        return sample


def _distorted(array: npt.NDArray[np.uint8], kind: str, amount: float, mean: float) -> Any:
    if kind == "brightness":
        return cv2.convertScaleAbs(array, alpha=amount)
    if kind == "contrast":
        return np.clip((array.astype(np.float32) - mean) * amount + mean, 0, 255).astype(np.uint8)
    if kind == "saturation":
        gray = cv2.cvtColor(array, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
        return np.clip((array - gray) * amount + gray, 0, 255).astype(np.uint8)
    hsv = cv2.cvtColor(array, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0].astype(np.int32) + round(amount)) % 180
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


@_register
class RandomSharpen:
    """Unsharp mask with probability ``prob``."""

    prob: float = 0.1

    def __call__(self, sample: Sample, random: Random) -> Sample:
        if random.random() >= self.prob:
            return sample
        radius = 2 * int(random.integers(1, 6)) + 1
        soft = cv2.GaussianBlur(sample["image"], (radius, radius), 0)
        return _image(sample, cv2.addWeighted(sample["image"], 1.5, soft, -0.5, 0))


@_register
class RandomNoise:
    """Gaussian noise of up to 10 levels with probability ``prob``."""

    prob: float = 0.1

    def __call__(self, sample: Sample, random: Random) -> Sample:
        if random.random() >= self.prob:
            return sample
        noise = random.normal(random.uniform(0, 4), random.uniform(0.01, 10), sample["image"].shape)
        return _image(sample, np.clip(sample["image"] + noise, 0, 255))


@_register
class RandomReJpeg:
    """JPEG of a quality of 70 to 95 with probability ``prob``."""

    prob: float = 0.1

    def __call__(self, sample: Sample, random: Random) -> Sample:
        if random.random() >= self.prob:
            return sample
        quality = int(random.integers(70, 96))
        _, data = cv2.imencode(".jpg", sample["image"][..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        return _image(sample, np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))[..., ::-1])


@_register
class GenTrimap:
    """A new trimap from alpha, by random erosion and dilation."""

    def __call__(self, sample: Sample, random: Random) -> Sample:
        return {**sample, "trimap": random_trimap(sample["alpha"], random)}


def random_trimap(alpha: npt.NDArray[np.uint8], random: Random) -> npt.NDArray[np.uint8]:
    """0, 128, 255: unknown as far as an ellipse of 2 to 4 pixels reaches in 5 to 14 steps."""
    side, steps = int(random.integers(2, 5)), int(random.integers(5, 15))
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    trimap = np.full(alpha.shape, 128, np.uint8)
    trimap[cv2.erode(alpha, ellipse, iterations=steps) == 255] = 255
    trimap[cv2.dilate(alpha, ellipse, iterations=steps) == 0] = 0
    return trimap


@_register
class MotionBlur:
    """The camera or the person moves: all of the sample is blurred along a line of up to ``reach`` pixels."""

    prob: float = 0.2
    reach: int = 15

    def __call__(self, sample: Sample, random: Random) -> Sample:
        if random.random() >= self.prob:
            return sample
        length, angle = int(random.integers(3, self.reach + 1)), float(random.uniform(0, np.pi))
        kernel = np.zeros((length, length), np.float32)
        middle = (length - 1) / 2
        step = np.array([np.cos(angle), np.sin(angle)]) * middle
        ends = [tuple(round(float(value)) for value in middle + sign * step) for sign in (-1, 1)]
        cv2.line(kernel, ends[0], ends[1], 1.0)
        kernel /= kernel.sum()
        # The matte of a moving object is blurred as the image is.
        return _each(sample, lambda name, array: array if name == "trimap" else cv2.filter2D(array, -1, kernel))


@_register
class Exposure:
    """Gain of -``stops`` to +``stops``, gamma, and colour of the light."""

    prob: float = 0.3
    stops: float = 2.0

    def __call__(self, sample: Sample, random: Random) -> Sample:
        if random.random() >= self.prob:
            return sample
        gain = 2 ** random.uniform(-self.stops, self.stops / 4) * random.uniform(0.85, 1.15, 3)
        gamma = random.uniform(0.8, 1.3)
        levels = np.arange(256)[:, None] / 255
        table = np.clip(np.clip(levels * gain, 0, 1) ** gamma * 255, 0, 255).astype(np.uint8)[None]
        return _images(sample, lambda array: cv2.LUT(array, table))


@_register
class WebcamNoise:
    """A small sensor: noise that grows with the signal's root, coarse in chroma, and the blur of its noise filter."""

    prob: float = 0.3
    strength: float = 8.0

    def __call__(self, sample: Sample, random: Random) -> Sample:
        if random.random() >= self.prob:
            return sample
        yuv = cv2.cvtColor(sample["image"], cv2.COLOR_RGB2YCrCb).astype(np.float32)
        height, width = _size(sample)
        amount = random.uniform(1, self.strength)
        yuv[..., 0] += random.normal(0, amount, (height, width)) * np.sqrt(np.maximum(yuv[..., 0], 1) / 128)
        coarse = random.normal(0, amount, (height // 4 + 1, width // 4 + 1, 2)).astype(np.float32)
        yuv[..., 1:] += cv2.resize(coarse, (width, height))
        noisy = cv2.cvtColor(np.clip(yuv, 0, 255).astype(np.uint8), cv2.COLOR_YCrCb2RGB)
        return _image(sample, cv2.bilateralFilter(noisy, 5, 20, 3) if random.random() < 0.5 else noisy)


@_register
class VideoCompression:
    """Encoded by H.264 at a quality of ``low`` to ``high`` and decoded again."""

    prob: float = 0.3
    low: int = 26
    high: int = 40

    def __call__(self, sample: Sample, random: Random) -> Sample:
        if random.random() >= self.prob:
            return sample
        crf = int(random.integers(self.low, self.high + 1))
        return _image(sample, compressed(sample["image"], crf))
