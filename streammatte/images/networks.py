"""Runs networks on pictures of changing sizes: an engine a size, the last few kept."""

from __future__ import annotations

import logging
from collections import OrderedDict
from functools import lru_cache

import cv2
import numpy as np

from streammatte.engines import open_engine
from streammatte.frames import F32, U8, Frame
from streammatte.matting.preprocess import Preparer, extend
from streammatte.models.files import ModelFiles
from streammatte.models.resolve import EMBEDDED, resolve
from streammatte.network_size import Fit, fit_to
from streammatte.options.images import AUTO, ImageOptions
from streammatte.options.matte import SIZE_RANGE
from streammatte.protocols import Engine

__all__ = ["ENGINES_KEPT", "Networks", "files_of", "fit"]


def fit(width: int, height: int, files: ModelFiles, limit: int, long_side: int | None = None) -> Fit:
    """The size for a picture.

    Parameters
    ----------
    width, height : int
        Of the picture.
    files : ModelFiles
        The network: its size rule and the multiple that its sides must be of.
    limit : int
        Of the content's long side.
    long_side : int, optional
        Of the content, instead of what the network's rule says; ``limit`` bounds it too.

    Returns
    -------
    Fit
        As :func:`streammatte.network_size.fit_to`; stretched where the network takes one size only.
    """
    if files.rule.fixed is not None:
        return Fit(files.rule.fixed, files.rule.fixed)
    if long_side is None:
        long_side = max(files.rule.sides_for(height, width))
    return fit_to(width, height, min(long_side, limit), multiple=files.multiple)


log = logging.getLogger(__name__)

ENGINES_KEPT = 4
"""Upright and lying, for two aspects: a camera's usual output. Each holds its network's activations in memory."""

EMBEDDED_LIMIT = 768
"""Its card's; an explicit --size may go so far."""
EMBEDDED_SIDES = (384, 512)
"""Shortest and longest long side for the embedded network, which was trained below 512 and loses the person above.

MAD x 1e3 on composites of up to 512 pixels: on 63 of them (bf16) 12.5 at 512, 12.6 at 544, 14.9 at 576;
on every second one (int8) 12.7 at 512, 19.1 at 640, 31.6 at 768, alike when enlarged twice, and halved to 256 pixels
20.8 at 256, 13.5 at 384, 15.2 at 512 (where the edges are better)."""


@lru_cache(maxsize=16)
def files_of(model: str) -> ModelFiles:
    """The files of a model. Raises ModelNotFoundError, ModelError, ConfigError."""
    return resolve(model)


class Networks:
    """Alpha mattes of single pictures.

    Parameters
    ----------
    options : ImageOptions
        ``engine``, ``device``, ``precision``, ``size``, ``threads``.
    """

    def __init__(self, options: ImageOptions) -> None:
        self._options = options
        self._engines: OrderedDict[tuple[str, tuple[int, int]], Engine] = OrderedDict()

    def alpha(self, model: str, frame: Frame, trimap: U8 | None = None) -> tuple[F32, tuple[U8, ...]]:
        """The matte of a picture, at the size the network gives it.

        Parameters
        ----------
        model : str
        frame : Frame
            RGB.
        trimap : ndarray (H, W) uint8 in {0, 128, 255}, optional
            For networks that take one.

        Returns
        -------
        alpha : ndarray (h, w) float32 in [0, 1]
        planes : tuple of ndarray (h', w') uint8
            R, G, B of the picture as the network saw it.
        """
        size = self._fit(model, frame)
        engine = self._engine(model, size.padded)
        preparer = Preparer(size.content, size.padded)
        images = np.empty((1, *size.padded, 3), np.uint8)
        planes = preparer.prepare(frame, images[0])
        if trimap is None:
            pending = engine.submit(images)
        else:
            small = cv2.resize(trimap, size.content[::-1], interpolation=cv2.INTER_NEAREST)
            pending = engine.submit(images, extend(small, size.padded)[None])
        return preparer.crop(pending.result()[0]), planes

    def close(self) -> None:
        """Release the engines."""
        while self._engines:
            self._engines.popitem()[1].close()

    def _fit(self, model: str, frame: Frame) -> Fit:
        longest, asked = max(frame.width, frame.height), self._options.size
        if model not in EMBEDDED:
            side = None if asked is None else min(longest, asked)
            return fit(frame.width, frame.height, files_of(model), asked or SIZE_RANGE[1], side)
        low, high = EMBEDDED_SIDES
        if asked is not None and asked > EMBEDDED_LIMIT:
            log.warning("%s sees %d pixels at most; --size %d is taken as that", model, EMBEDDED_LIMIT, asked)
        side = min(max(longest, low), asked or high, EMBEDDED_LIMIT)
        return fit(frame.width, frame.height, files_of(model), EMBEDDED_LIMIT, side)

    def _engine(self, model: str, size: tuple[int, int]) -> Engine:
        key = (model, size)
        if key not in self._engines:
            while len(self._engines) >= ENGINES_KEPT:
                self._engines.popitem(last=False)[1].close()
            options = self._options
            asked = options.model in (model, AUTO)  # else it only makes trimaps, on whatever runs it
            self._engines[key] = open_engine(
                model,
                engine=options.engine if asked else "auto",
                device=options.device,
                precision=options.precision if asked else "auto",
                size=size,
                threads=options.threads,
                throughput=False,
            )
            log.info("%s: input %dx%d", model, size[1], size[0])
        self._engines.move_to_end(key)
        return self._engines[key]
