"""Training samples: people with their mattes, unchanged or composited over other backgrounds."""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import signal
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from streammatte.cache import trim, user_cache_dir
from streammatte.errors import ConfigError, SourceError, SourceNotFoundError, StreammatteError
from streammatte.evaluation.datasets import find_items, is_image
from streammatte.file_names import is_video_name
from streammatte.frames import U8, Layout
from streammatte.media.image_reader import read_matte, read_still
from streammatte.training.recipe import Recipe
from streammatte.training.transforms import Random, Sample, Transform, compose, random_trimap

__all__ = ["Batches", "Entry", "Samples", "find_entries", "loaded", "read_pair"]

log = logging.getLogger(__name__)


MAX_BROKEN = 16
"""Files in a row that cannot be read, after which reading is given up."""
_FRAMES_KEPT = 32
_ROOM_SIDE = 128
"""Long side, pixels, at which a person is filled in."""
_BLURS = (19, 29, 39, 49, 59)
"""Kernels by which RSSN blurs a background, pixels."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A person: the image, its matte, and a background and a foreground where the data has them."""

    image: Path
    alpha: Path
    background: Path | None = None
    foreground: Path | None = None


def find_entries(folder: Path, part: str = "train") -> list[Entry]:
    """The training images of a folder.

    Parameters
    ----------
    folder : Path
        With a list (``train.txt``: a line for each foreground, and its background, as PaddleSeg has it; the matte is
        where ``/fg`` becomes ``/alpha``), or laid out as :func:`streammatte.evaluation.datasets.find_items` knows.
    part : {"train", "val"}
        Which list.

    Raises
    ------
    SourceNotFoundError, ConfigError
    """
    if not folder.is_dir():
        raise SourceNotFoundError(f"there is no folder {folder}; --data takes a folder of images and alphas")
    listed = folder / f"{part}.txt"
    if listed.is_file():
        return list(_listed(folder, listed))
    items = [item for item in find_items(folder) if item.kind == "still" and item.alpha is not None]
    if not items:
        raise ConfigError(f"{folder} holds no image with a matte")
    return [Entry(item.source, item.alpha, None, item.foreground) for item in items if item.alpha is not None]


def _listed(folder: Path, listed: Path) -> Sequence[Entry]:
    found = []
    for number, line in enumerate(listed.read_text(encoding="utf-8").splitlines(), 1):
        names = line.split("|") if "|" in line else line.split()
        if not names:
            continue
        image = folder / names[0]
        alpha = folder / names[0].replace("fg/", "alpha/")
        if alpha == image:
            raise ConfigError(f"{listed}, line {number}: {names[0]} has no fg/ in it, which becomes alpha/")
        for path in (image, alpha):
            if not path.is_file():
                raise ConfigError(f"{listed}, line {number}: there is no {path}")
        found.append(Entry(image, alpha, folder / names[1] if len(names) > 1 else None))
    if not found:
        raise ConfigError(f"{listed} is empty")
    return found


class _Backgrounds:
    """Images of a folder, and frames of its videos."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise SourceNotFoundError(f"there is no folder {folder} of backgrounds")
        self._paths = sorted(path for path in folder.rglob("*") if is_image(path) or is_video_name(path))
        if not self._paths:
            raise ConfigError(f"{folder} holds no image and no video")
        self._frames: OrderedDict[Path, list[U8]] = OrderedDict()

    def draw(self, random: Random) -> U8:
        """A random image. Raises SourceError."""
        path = self._paths[random.integers(len(self._paths))]
        if is_image(path):
            return read_still(path, at_least=(1024, 1024))[0]
        if path not in self._frames:
            self._frames[path] = _some_frames(path)
            while len(self._frames) > _FRAMES_KEPT:
                self._frames.popitem(last=False)
        frames = self._frames[path]
        return frames[random.integers(len(frames))]


def _some_frames(path: Path) -> list[U8]:
    """Up to eight frames, evenly over a video's first minute, RGB."""
    from streammatte.media.planes import Target, convert_planes
    from streammatte.sources import open_source

    with closing(open_source(path, tracks=False, duration=60.0)) as source:
        step = max(1, int((source.info.duration or 8) * float(source.info.rate or 25) / 8))
        kept = [
            convert_planes(frame, Target(Layout.RGB, frame.width, frame.height, frame.color), "stretch")[0]
            for frame in source.frames()
            if frame.index % step == 0
        ]
    if not kept:
        raise SourceError(f"{path} holds no frame")
    return kept


class _OwnRooms:
    """The backgrounds of the data itself, with the person filled in from the surroundings."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries

    def draw(self, random: Random) -> U8:
        """A random image. Raises SourceError."""
        image, alpha = read_pair(self._entries[int(random.integers(len(self._entries)))])
        height, width = alpha.shape
        by = min(1.0, _ROOM_SIDE / max(height, width))
        size = max(1, round(width * by)), max(1, round(height * by))
        mask = cv2.dilate((alpha > 5).astype(np.uint8), np.ones((9, 9), np.uint8))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        filled = cv2.inpaint(small, cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST), 3, cv2.INPAINT_TELEA)
        soft = cv2.GaussianBlur(mask * np.uint8(255), (15, 15), 0)
        return _blend(np.asarray(cv2.resize(filled, (width, height)), np.uint8), soft, image)


class Samples:
    """Makes samples; the same number gives the same sample in every process.

    Parameters
    ----------
    recipe : Recipe
    entries : sequence of Entry
    """

    def __init__(self, recipe: Recipe, entries: Sequence[Entry]) -> None:
        self._recipe = recipe
        self._entries = entries
        self._transforms: list[Transform] = compose(recipe.transforms)
        given = _Backgrounds(Path(recipe.backgrounds)) if recipe.backgrounds else None
        self._backgrounds = given or _OwnRooms(entries)
        self._order: tuple[int, npt.NDArray[np.int64]] | None = None
        self.broken: set[Path] = set()

    def __len__(self) -> int:
        return len(self._entries)

    def draw(self, number: int) -> Sample:
        """The sample of a number: each epoch has every entry once, in an order of its own.

        ``image``, ``foreground``, ``background`` (S, S, 3), ``alpha``, ``trimap`` (S, S), S the recipe's size.

        Raises
        ------
        SourceError
            Too many files cannot be read.
        """
        random = np.random.default_rng([self._recipe.seed, number])
        index = self._index(number)
        for _ in range(MAX_BROKEN):
            entry = self._entries[index]
            try:
                return self._transformed(self._composed(entry, random), random)
            except (StreammatteError, OSError, ValueError) as error:
                if entry.image not in self.broken:
                    log.warning("%s is left out: %s", entry.image, error)
                self.broken.add(entry.image)
                index = int(random.integers(len(self._entries)))
        raise SourceError(f"{MAX_BROKEN} samples in a row cannot be read, the last one {entry.image}")

    def _index(self, number: int) -> int:
        epoch, index = divmod(number, len(self._entries))
        if self._order is None or self._order[0] != epoch:
            self._order = (
                epoch,
                np.random.default_rng([self._recipe.seed, 2**31, epoch]).permutation(len(self._entries)),
            )
        return int(self._order[1][index])

    def _composed(self, entry: Entry, random: Random) -> Sample:
        if self._recipe.empty and random.random() < self._recipe.empty:
            room = self._backgrounds.draw(random)
            return {"image": room, "foreground": room, "background": room, "alpha": np.zeros(room.shape[:2], np.uint8)}
        image, alpha = read_pair(entry)
        if entry.background is not None:
            return self._composited(image, alpha, read_still(entry.background)[0], random)
        if self._recipe.compose and random.random() < self._recipe.compose:
            return self._composited(_foreground(entry, image, alpha), alpha, self._backgrounds.draw(random), random)
        return {"image": image, "foreground": image, "background": image, "alpha": alpha}

    def _composited(self, foreground: U8, alpha: U8, background: U8, random: Random) -> Sample:
        """The composite; RSSN also denoises, blurs the background and adds a second person."""
        rssn = self._recipe.rssn
        if rssn and random.random() < 0.5:
            foreground = np.asarray(cv2.fastNlMeansDenoisingColored(foreground, None, 3, 3, 7, 21), np.uint8)
            background = np.asarray(cv2.fastNlMeansDenoisingColored(background, None, 3, 3, 7, 21), np.uint8)
        if rssn and random.random() < 0.5:
            radius = _BLURS[random.integers(len(_BLURS))]
            background = np.asarray(cv2.GaussianBlur(background, (radius, radius), 0), np.uint8)
        background, whole = _fitted(background, *alpha.shape), alpha
        if rssn and random.random() < 0.25:
            other = self._entries[int(random.integers(len(self._entries)))]
            image, matte = read_pair(other)
            size = alpha.shape[1], alpha.shape[0]
            second = np.asarray(cv2.resize(_foreground(other, image, matte), size), np.uint8)
            share = np.asarray(cv2.resize(matte, size), np.uint8)
            background = _blend(second, share, background)
            whole = 255 - np.rint((255.0 - alpha) * (255.0 - share) / 255).astype(np.uint8)
        image = _blend(foreground, alpha, background)
        return {"image": image, "foreground": foreground, "background": background, "alpha": whole}

    def _transformed(self, sample: Sample, random: Random) -> Sample:
        for transform in self._transforms:
            sample = transform(sample, random)
        size = self._recipe.size
        if sample["alpha"].shape != (size, size):
            sample = {name: _square(array, size) for name, array in sample.items()}
        if "trimap" not in sample:
            sample["trimap"] = random_trimap(sample["alpha"], random)
        return sample


def read_pair(entry: Entry) -> tuple[U8, U8]:
    """The image (H, W, 3) and its matte (H, W), uint8. Raises SourceError, ConfigError."""
    image, matte = read_still(entry.image)[0], read_matte(entry.alpha)
    alpha: U8 = matte.astype(np.uint8) if matte.dtype == np.uint8 else np.rint(matte * 255).astype(np.uint8)
    if alpha.shape != image.shape[:2]:
        raise ConfigError(f"its matte is {alpha.shape[1]}x{alpha.shape[0]}, it {image.shape[1]}x{image.shape[0]}")
    return image, alpha


def _foreground(entry: Entry, image: U8, alpha: U8) -> U8:
    """The person's own colours: of the data, of the cache, or estimated."""
    if entry.foreground is not None:
        return read_still(entry.foreground)[0]
    facts = entry.image.stat()
    key = f"{entry.image.resolve()}:{facts.st_size}:{facts.st_mtime_ns}"
    path = user_cache_dir("foregrounds") / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.png"
    if path.is_file():
        kept = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if kept is not None and kept.shape == image.shape:
            return np.ascontiguousarray(kept[..., ::-1])
    from streammatte.compositing.foreground import estimate_small
    from streammatte.sinks.atomic import whole_file

    planes = tuple(np.ascontiguousarray(image[..., channel]) for channel in range(3))
    estimates = estimate_small(planes, (alpha / 255).astype(np.float32))
    made = np.clip(np.stack([fore for fore, _ in estimates], axis=-1), 0, 255).astype(np.uint8)
    try:
        with whole_file(path) as temporary:
            temporary.write_bytes(cv2.imencode(".png", made[..., ::-1])[1].tobytes())
        trim("foregrounds", path)
    except (StreammatteError, OSError) as error:
        log.debug("a foreground is not kept: %s", error)
    return made


def _fitted(image: U8, height: int, width: int) -> U8:
    """The image's upper left part, enlarged where it is too small."""
    ratio = max(height / image.shape[0], width / image.shape[1])
    if ratio > 1:
        size = int(np.ceil(image.shape[1] * ratio)), int(np.ceil(image.shape[0] * ratio))
        image = np.asarray(cv2.resize(image, size), np.uint8)
    return np.ascontiguousarray(image[:height, :width])


def _blend(foreground: U8, alpha: U8, background: U8) -> U8:
    share = alpha[..., None].astype(np.float32) / 255
    return np.rint(foreground * share + background * (1 - share)).astype(np.uint8)


def _square(array: U8, size: int) -> U8:
    array = array[:size, :size]
    below, right = size - array.shape[0], size - array.shape[1]
    edges = ((0, below), (0, right), *(((0, 0),) if array.ndim == 3 else ()))
    return np.pad(array, edges)


class Batches:
    """Batches as tensors take them, by step.

    Parameters
    ----------
    make : callable
        Returns :class:`Samples`; called once in each process.
    batch, first : int
        Images of a batch, and the number of the first step.
    steps : int
        How many batches.
    rank, ranks : int
        Of this process among those that share each step.
    pairs : bool
        Each sample is followed by the same one a moment later (moved by a few pixels).
    """

    def __init__(
        self,
        make: Callable[[], Samples],
        batch: int,
        first: int,
        steps: int,
        *,
        rank: int = 0,
        ranks: int = 1,
        pairs: bool = False,
    ) -> None:
        self._make, self._batch, self._first, self._steps = make, batch, first, steps
        self._rank, self._ranks, self._pairs = rank, ranks, pairs
        self._samples: Samples | None = None

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int) -> tuple[npt.NDArray[Any], ...]:
        """``image``, ``alpha``, ``trimap``, ``foreground``, ``background`` as NCHW uint8 arrays."""
        if self._samples is None:
            self._samples = self._make()
            cv2.setNumThreads(1)
        begin = ((self._first + index) * self._ranks + self._rank) * self._batch
        drawn = [self._samples.draw(begin + index) for index in range(self._batch)]
        if self._pairs:
            drawn = [each for number, sample in enumerate(drawn) for each in (sample, _later(sample, begin + number))]
        names = ("image", "alpha", "trimap", "foreground", "background")
        stacked = (np.stack([sample[name] for sample in drawn]) for name in names)
        return tuple(
            np.ascontiguousarray(array.transpose(0, 3, 1, 2) if array.ndim == 4 else array[:, None])
            for array in stacked
        )


def _later(sample: Sample, number: int) -> Sample:
    random = np.random.default_rng([number, 7])
    angle, scale = random.uniform(-1, 1), random.uniform(0.99, 1.01)
    size = sample["alpha"].shape[0]
    matrix = cv2.getRotationMatrix2D((size / 2, size / 2), angle, scale)
    matrix[:, 2] += random.uniform(-4, 4, 2)
    return {
        name: np.asarray(
            cv2.warpAffine(
                array,
                matrix,
                (size, size),
                flags=cv2.INTER_NEAREST if name == "trimap" else cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            ),
            np.uint8,
        )
        for name, array in sample.items()
    }


def loaded(batches: Batches, workers: int) -> Iterator[tuple[npt.NDArray[Any], ...]]:
    """The batches in order, made by processes ahead of time; by this one where ``workers`` is 0. Raises SourceError."""
    if not workers:
        yield from (batches[index] for index in range(len(batches)))
        return
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawned, initializer=_begin, initargs=(batches,)) as pool:
        ahead = deque(pool.submit(_batch, index) for index in range(min(2 * workers, len(batches))))
        following = len(ahead)
        try:
            while ahead:
                made = ahead.popleft().result()
                if following < len(batches):
                    ahead.append(pool.submit(_batch, following))
                    following += 1
                yield made
        finally:
            for future in ahead:
                future.cancel()


_batches: list[Batches] = []
"""Of a worker process."""


def _begin(batches: Batches) -> None:
    """Prepare a worker process: it ends with its parent and ignores signals."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(0)

    threading.Thread(target=follow, daemon=True).start()
    _batches[:] = [batches]


def _batch(index: int) -> tuple[npt.NDArray[Any], ...]:
    return _batches[0][index]
