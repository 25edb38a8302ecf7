"""Fine-tuning to a room: the decoder is trained on labels made from a clip, and kept if that improves it.

Without a clean plate the teacher is the quality network where it is here, else the embedded network itself at two
larger sizes, on the image and its mirror image, smoothed over time: where the two agree they are right more often than
one pass at the usual size. With a clean plate, pixels that differ from it clearly are the person's, and those that do
not are the room's. Where neither is certain the label is what the network gives already, which has no effect.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from streammatte.build import build_matter, build_source
from streammatte.cache import lasting_dir
from streammatte.errors import ConfigError, ModelError, SourceError
from streammatte.frames import F32, U8, Frame, Layout
from streammatte.media.image_reader import is_image, read_still
from streammatte.media.planes import Target, convert_planes
from streammatte.models.resolve import EMBEDDED, EMBEDDED_WEIGHTS, TUNED, resolve
from streammatte.options.video import VideoOptions
from streammatte.pipeline import Mattes
from streammatte.sinks.atomic import AtomicFolder
from streammatte.training.datasets import find_entries
from streammatte.training.recipe import load_recipe
from streammatte.training.trainer import Trainer, TrainingProgress
from streammatte.training.validation import validate

__all__ = ["Tuned", "tune"]

log = logging.getLogger(__name__)


NETWORK = "ppmattingv2-lite"
TEACHERS = ("ppmatting-hrnet_w18-human_1024", "ppmatting-hrnet_w18-human_512", "human_matting-resnet34_vd")
"""Quality networks, the best first."""

MAX_FRAMES = 240
HELD_OUT = 0.2
"""Share of the clip, at its end, that is held out."""
LONGEST = 120.0
"""Seconds of the clip that are used."""
_LONG_SIDE = 640
_AGREE = 0.12
"""Difference of two passes up to which a label is certain."""
_SAME, _OTHER = 10.0, 28.0
"""Levels of difference from the clean plate below which a pixel is the room's, and above which it is not."""
_RATE = 5e-5
_LIGHT = ("brightness_range", "contrast_range", "saturation_range")


@dataclass(frozen=True, slots=True)
class Tuned:
    """The result: MAD (times 1000) against the labels of the held-out frames, and the name where the network is
    kept.
    """

    before: float
    after: float
    frames: int
    steps: int
    name: str | None
    folder: Path


def tune(
    clip: str,
    name: str,
    work: Path,
    *,
    clean_plate: str | None = None,
    minutes: float = 10.0,
    size: int = 288,
    on_progress: Callable[[TrainingProgress], None] | None = None,
    on_start: Callable[[Trainer], None] = lambda _: None,
) -> Tuned:
    """Fine-tune the embedded network to a clip.

    Parameters
    ----------
    clip : str
        A video of the room with the person.
    name : str
        Under which ``--model`` finds the result.
    work : Path
        Gets labels, weights and logs.
    clean_plate : str, optional
        An image or a video of the room without anybody, from the same place.
    minutes : float
        Of training.
    size : int
        Side of what the network is trained on.
    on_progress, on_start : callable, optional
        As the trainer's; with the trainer before it runs.

    Raises
    ------
    StreammatteError
    """
    _check_name(name)
    weights = str(EMBEDDED_WEIGHTS)
    count = _write_labels(clip, work, clean_plate)
    held_out = find_entries(work / "held-out")
    recipe = load_recipe(NETWORK).resized(size)
    recipe = recipe.replace(
        init=weights,
        data=str(work / "train"),
        validation=str(work / "held-out"),
        batch=8,
        iters=10**6,
        schedule="constant",
        learning_rate=_RATE,
        warmup=10,
        ema=0.98,
        rssn=False,
        freeze=r"^backbone|\.bn\.|_batch_norm",
        workers=1,
        evaluate_every=50,
        save_every=50,
        sample_every=100,
        transforms=(
            ("RandomResize", {"size": [size, size], "scale": [1.0, 1.3]}),
            ("RandomCrop", {"crop_size": [size, size]}),
            ("RandomHorizontalFlip", {}),
            (
                "RandomDistort",
                {"brightness_range": 0.2, "contrast_range": 0.2, "saturation_range": 0.2, "hue_range": 4},
            ),
            ("WebcamNoise", {"prob": 0.2, "strength": 4.0}),
            ("VideoCompression", {"prob": 0.2}),
        ),
    )
    end = time.monotonic() + 60 * minutes

    def watch(now: TrainingProgress) -> None:
        left = end - time.monotonic()
        if left < 0:
            trainer.stop()
        if on_progress is not None:  # its number of steps follows from the time
            on_progress(replace(now, steps=now.step + max(0, round(left / max(now.seconds, 1e-3)))))

    trainer = Trainer(recipe, work / "training", on_progress=watch)
    before = validate(trainer.network, NETWORK, held_out, ("mad",))["mad"]
    trainer.prepare()
    on_start(trainer)
    trained = trainer.run()
    after = trainer.best
    better = after < before
    if better:
        _keep(work / "training" / "best.pdparams", name, clip, {"before": before, "after": after, "clip": str(clip)})
    return Tuned(before, after, count, trained.step, name if better else None, work)


def _check_name(name: str) -> None:
    if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii() or len(name) > 64:
        raise ConfigError(f"a name is letters, digits, - and _, got {name!r}")
    from streammatte.networks import names

    if name in (*names(), *EMBEDDED):
        raise ConfigError(f"{name} is the name of a network; give another --name")


def _write_labels(clip: str, work: Path, clean_plate: str | None) -> int:
    """Images and labels of the clip, its end separately; returns how many."""
    for part in ("train", "held-out"):
        for kind in ("images", "alphas"):
            (work / part / kind).mkdir(parents=True, exist_ok=True)
    if any((work / "train" / "images").iterdir()):
        raise ConfigError(f"{work} holds labels already; name another --output, or remove it")
    labelled = _by_plate(clip, clean_plate) if clean_plate else _by_teacher(clip)
    found = 0
    for number, of, image, alpha in labelled:
        part = "held-out" if number >= (1 - HELD_OUT) * of else "train"
        for kind, pixels in (("images", image[..., ::-1]), ("alphas", alpha)):
            cv2.imwrite(str(work / part / kind / f"{number:06d}.png"), pixels)
        found += 1
    if found < 10:
        raise SourceError(f"{clip} has {found} frames to learn from; give a clip of some seconds")
    return found


def _mattes(clip: str, **options: Any) -> Iterator[tuple[U8, F32]]:
    """RGB frames of the clip and their mattes, uint8 and [0, 1], at most ``_LONG_SIDE`` wide or high."""
    how = VideoOptions.build({"duration": LONGEST, "audio": False, **options})
    source = build_source(clip, how, tracks=False)
    try:
        matter = build_matter(source.info, how)
    except BaseException:
        source.close()
        raise
    with Mattes(source, matter, closing=(matter.close,)) as mattes:
        for matte in mattes:
            alpha = matte.alpha.astype(np.float32) / 255
            yield _smaller(_rgb(matte.frame)), _smaller(alpha)


def _rgb(frame: Frame) -> U8:
    return convert_planes(frame, Target(Layout.RGB, frame.width, frame.height, frame.color), "stretch")[0]


def _smaller(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    by = _LONG_SIDE / max(array.shape[:2])
    if by >= 1:
        return np.ascontiguousarray(array)
    size = round(array.shape[1] * by), round(array.shape[0] * by)
    return np.asarray(cv2.resize(array, size, interpolation=cv2.INTER_AREA))


def _count(clip: str) -> int:
    """Frames of the part that is used."""
    options = VideoOptions.build({"duration": LONGEST, "audio": False})
    with closing(build_source(clip, options, tracks=False)) as source:
        return sum(1 for _ in source.frames())


def _by_teacher(clip: str) -> Iterator[tuple[int, int, U8, U8]]:
    of = _count(clip)
    step = max(1, of // MAX_FRAMES)
    plain = _mattes(clip, smooth="off")
    teacher = _teacher()
    first = _mattes(clip, smooth="best", **teacher)
    second = _mattes(clip, smooth="best", **{**teacher, "size": 448})
    for number, ((image, own), (_, one), (_, other)) in enumerate(zip(plain, first, second, strict=False)):
        if number % step == 0:
            certain = np.abs(one - other) < _AGREE
            yield number, of, image, _bytes(np.where(certain, one, own))


def _teacher() -> dict[str, Any]:
    for name in TEACHERS:
        try:
            resolve(name)
        except ModelError:
            continue
        log.warning("labels are made by %s", name)
        return {"model": name}
    return {"average": "flip", "size": 640}


def _by_plate(clip: str, clean_plate: str) -> Iterator[tuple[int, int, U8, U8]]:
    of = _count(clip)
    step = max(1, of // MAX_FRAMES)
    plate: F32 | None = None
    for number, (image, own) in enumerate(_mattes(clip, smooth="off", average="flip")):
        if number % step:
            continue
        if plate is None:
            plate = _plate(clean_plate, image.shape[:2])
        yield number, of, image, _bytes(_against(image, own, plate))


def _plate(clean_plate: str, shape: tuple[int, int]) -> F32:
    """The room alone, (h, w, 3) float32: an image, or the median of a video's frames."""
    if is_image(Path(clean_plate)):
        views = [read_still(clean_plate)[0]]
    else:
        options = VideoOptions.build({"duration": 10.0, "audio": False})
        with closing(build_source(clean_plate, options, tracks=False)) as source:
            frames = [_rgb(frame) for frame in source.frames() if frame.index % 10 == 0]
        views = frames[:25]
    size = shape[1], shape[0]
    resized = [cv2.resize(view, size, interpolation=cv2.INTER_AREA) for view in views]
    return np.asarray(np.median(np.stack(resized), axis=0), np.float32)


def _against(image: U8, own: F32, plate: F32) -> F32:
    """The label of an image: certain by its difference from the room, else what the network gives."""
    blurred = cv2.GaussianBlur(image.astype(np.float32), (5, 5), 0)
    room = cv2.GaussianBlur(plate, (5, 5), 0)
    empty = own < 0.05
    if empty.mean() > 0.05:  # the camera's exposure has changed
        room = room * (np.median(blurred[empty], axis=0) / np.maximum(np.median(room[empty], axis=0), 1))
    difference = np.abs(blurred - room).max(axis=-1)
    kernel = np.ones((5, 5), np.uint8)
    other = cv2.erode((difference > _OTHER).astype(np.uint8), kernel) > 0
    same = cv2.erode((difference < _SAME).astype(np.uint8), kernel) > 0
    # What differs belongs to the person only where it is connected to the network's matte: a shadow is not.
    count, labels = cv2.connectedComponents((other | (own > 0.5)).astype(np.uint8))
    sure = np.bincount(labels[own > 0.9].ravel(), minlength=count)
    total = np.bincount(labels.ravel(), minlength=count)
    belongs = (sure > 0.3 * total)[labels] & (labels > 0)
    return np.where(other & belongs, 1.0, np.where(same & (own < 0.9), 0.0, own)).astype(np.float32)


def _bytes(alpha: F32) -> U8:
    return np.rint(np.clip(alpha, 0, 1) * 255).astype(np.uint8)


def _keep(weights: Path, name: str, clip: str, facts: dict[str, Any]) -> None:
    """Export float and int8 under the name."""
    from streammatte.export.convert import save_as, save_int8
    from streammatte.images.calibration import calibration_samples

    target = lasting_dir(TUNED) / name
    target.parent.mkdir(parents=True, exist_ok=True)
    files = resolve(f"{NETWORK}={weights}")
    folder = AtomicFolder(target, overwrite=True)
    folder.create()
    try:
        save_as(files, folder.path / "float.xml", "openvino", precision="f16")
        save_int8(files, folder.path / "int8.xml", calibration_samples(Path(clip), files, files.rule.size))
        (folder.path / "facts.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
        folder.publish()
    except BaseException:
        folder.discard()
        raise
