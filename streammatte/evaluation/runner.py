"""Scoring: mattes against the truth, or a network over a data set. The object that makes mattes is passed in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from streammatte.errors import UnsupportedSourceError
from streammatte.evaluation.bands import dense_flow, trimap_from_alpha
from streammatte.evaluation.datasets import Item
from streammatte.evaluation.mattes import MatteReader, VideoOpener, matte_of, read_trimap
from streammatte.evaluation.scoring import ItemScore, Scorer, foreground_error
from streammatte.frames import U8, Frame, Matte
from streammatte.media.image_reader import read_matte, read_still

__all__ = ["MatteMaker", "Trimaps", "score_item", "score_pair"]

_NUMBERED = re.compile(r"^(.*?)(\d+)$")


class MatteMaker(Protocol):
    """Runs a network for ``score_item``."""

    def still(self, path: Path) -> Matte:
        """The matte of an image, alpha at the image's size, uint8 or float."""
        ...

    def video(self, path: Path) -> Iterator[Matte]:
        """The mattes of a video, one a frame, in order."""
        ...

    def foreground(self, matte: Matte) -> U8:
        """The straight foreground (H, W, 3) uint8 of a matte that ``still`` gave."""
        ...


@dataclass(frozen=True, slots=True)
class Trimaps:
    """Where trimaps come from: files at ``path``, or made from the truth (``auto``), or none."""

    path: Path | None = None
    auto: bool = False


def is_numbered(names: Sequence[str]) -> bool:
    """True for frame_0001, frame_0002 ...: one stem, counting up; such images follow each other in time."""
    found = [_NUMBERED.match(name) for name in names]
    stems = {match.group(1) for match in found if match}
    return len(names) > 1 and all(found) and len(stems) == 1


def score_pair(
    pred: Path,
    truth: Path,
    open_video: VideoOpener,
    metrics: Sequence[str],
    trimaps: Trimaps | None = None,
    frames: Path | None = None,
) -> list[ItemScore]:
    """Score the mattes at ``pred`` against those at ``truth``: images, folders of images, videos, or a mixture.

    Images are matched by name where the names are the same, else by their order. Images that are no numbered sequence
    are an item each; a video or a sequence is one.

    Parameters
    ----------
    pred, truth : Path
    open_video : callable
        Returns a video's frames.
    metrics : sequence of str
        Of :data:`streammatte.evaluation.scoring.CHOICES`.
    trimaps : Trimaps, optional
    frames : Path, optional
        The video the mattes belong to: for MESSDdt's motion and the report's images.

    Raises
    ------
    SourceError
        Something cannot be read; the counts or the sizes differ.
    ConfigError
        A metric needs what is not there.
    """
    trimaps = trimaps or Trimaps()
    readers = [MatteReader(pred, open_video), MatteReader(truth, open_video)]
    if trimaps.path is not None:
        readers.append(MatteReader(trimaps.path, open_video, trimap=True))
    true_names = [path.stem for path in readers[1].images or []]
    for reader in readers:
        reader.order_as(true_names)
    _check_counts(readers)
    is_video = any(reader.images is None for reader in readers[:2]) or is_numbered(true_names)
    scores: list[ItemScore] = []
    scorer = Scorer(pred.stem, "video", metrics, video=True, flow=dense_flow)
    shown = None if frames is None else open_video(frames)
    for number, row in enumerate(zip_longest(*readers)):
        if any(entry is None for entry in row):
            _refuse_short(readers, row, number)
        (name, alpha), (true_name, true_alpha) = row[0], row[1]
        trimap = row[2][1] if len(row) > 2 else trimap_from_alpha(true_alpha) if trimaps.auto else None
        frame = None if shown is None else next(shown, None)
        if shown is not None and frame is None:
            raise UnsupportedSourceError(f"{frames} ends after {number} frames, {truth} goes on; give the whole video")
        if not is_video:
            scorer = Scorer(true_name, "still", metrics, video=False)
        scorer.add(
            true_name if readers[1].images else name,
            alpha,
            true_alpha,
            trimap,
            image=None if frame is None else frame.to_rgb,
            luma=None if frame is None else _luma(frame),
        )
        if not is_video:
            scores.append(scorer.result())
    return [scorer.result()] if is_video else scores


def score_item(
    item: Item, maker: MatteMaker, open_video: VideoOpener, metrics: Sequence[str], *, with_trimap: bool = True
) -> ItemScore:
    """Run the network over one item of a data set and score it.

    Where the data set has the true foreground, alpha F is scored. An ``empty`` item is scored against a matte of zero.

    Parameters
    ----------
    item : Item
    maker : MatteMaker
    open_video : callable
        Returns the frames of the true matte.
    metrics : sequence of str
        Of :data:`streammatte.evaluation.scoring.CHOICES`.
    with_trimap : bool
        Score the unknown part of images too, of the data set's trimap or of the one that PaddleSeg would make (25
        pixels).

    Raises
    ------
    StreammatteError
        Something cannot be read, or the network's.
    """
    if item.kind == "video":
        return _score_video(item, maker, open_video, metrics)
    matte = maker.still(item.source)
    scorer = Scorer(item.name, item.kind, metrics, video=False)
    if item.alpha is None:
        scorer.add(item.name, matte.alpha, np.zeros(matte.alpha.shape, np.uint8), image=matte.frame.to_rgb)
        return scorer.result()
    truth = read_matte(item.alpha)
    trimap = None
    if with_trimap:
        trimap = read_trimap(item.trimap) if item.trimap else trimap_from_alpha(truth)
    extra: dict[str, float] = {}
    if item.foreground is not None and matte.alpha.shape == truth.shape and {"sad", "mse"} & set(metrics):
        true_foreground = read_still(item.foreground)[0]
        errors = foreground_error(matte.alpha, maker.foreground(matte), truth, true_foreground, name=item.name)
        extra = {name: value for name, value in errors.items() if name.removeprefix("fg_") in metrics}
    scorer.add(item.name, matte.alpha, truth, trimap, image=matte.frame.to_rgb, extra=extra)
    return scorer.result()


def _score_video(item: Item, maker: MatteMaker, open_video: VideoOpener, metrics: Sequence[str]) -> ItemScore:
    scorer = Scorer(item.name, "video", metrics, video=True, flow=dense_flow)
    truth = item.alpha or item.source
    for number, (matte, true_frame) in enumerate(zip_longest(maker.video(item.source), open_video(truth))):
        if matte is None or true_frame is None:
            shorter, longer = (item.source, truth) if matte is None else (truth, item.source)
            raise UnsupportedSourceError(f"{shorter} ends after {number} frames, {longer} goes on; repair the data set")
        luma = _luma(matte.frame) if "messddt" in metrics else None
        scorer.add(str(number), matte.alpha, matte_of(true_frame), image=matte.frame.to_rgb, luma=luma)
    return scorer.result()


def _check_counts(readers: list[MatteReader]) -> None:
    known = [(reader.path, len(reader.images)) for reader in readers if reader.images is not None]
    for path, count in known[1:]:
        if count != known[0][1]:
            raise UnsupportedSourceError(
                f"{known[0][0]} has {known[0][1]} images, {path} {count}; give as many mattes as there are truths"
            )


def _refuse_short(readers: list[MatteReader], row: Sequence[Any], number: int) -> None:
    ended, others = (
        next(reader.path for reader, entry in zip(readers, row, strict=True) if (entry is None) is is_short)
        for is_short in (True, False)
    )
    raise UnsupportedSourceError(
        f"{ended} ends after {number} frames, {others} goes on; give as many mattes as there are truths"
    )


def _luma(frame: Frame) -> U8:
    if frame.layout.is_yuv or len(frame.planes[0].shape) == 2:
        return np.ascontiguousarray(frame.planes[0])
    return np.ascontiguousarray(frame.planes[0][..., 1])
