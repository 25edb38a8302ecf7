"""Runs networks on images of changing sizes: one engine for each input size, the last few kept."""

from __future__ import annotations

import logging
from functools import lru_cache

import cv2
import numpy as np

from streammatte.engines import open_engine
from streammatte.engines.engine_cache import EngineCache
from streammatte.frames import F32, U8, Frame
from streammatte.matting.preprocess import Preparer, extend
from streammatte.models.files import ModelFiles
from streammatte.models.resolve import EMBEDDED, resolve
from streammatte.network_size import Fit, fit_input, fit_to
from streammatte.options.images import AUTO, ImageOptions
from streammatte.protocols import Engine

__all__ = ["Networks", "files_of"]

log = logging.getLogger(__name__)

_SMALL_SHARE = 0.4
"""Share of an image below which a person is small for the embedded network; docs/stills.md has the figures."""
_SMALL_SIZE = 608
"""Long side at which the network then gets the image again."""


@lru_cache(maxsize=16)
def files_of(model: str) -> ModelFiles:
    """The files of a model. Raises ModelNotFoundError, ModelError, ConfigError."""
    return resolve(model)


class Networks:
    """Alpha mattes of single images.

    Parameters
    ----------
    options : ImageOptions
        ``engine``, ``device``, ``precision``, ``size``, ``threads``.
    """

    def __init__(self, options: ImageOptions) -> None:
        self._options = options
        self._engines = EngineCache()
        self.last: Engine | None = None
        """The engine that ran last."""

    def alpha(self, model: str, frame: Frame, trimap: U8 | None = None) -> tuple[F32, tuple[U8, ...]]:
        """The matte of an image, at the size the network gives it.

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
            R, G, B of the image at the network's size.
        """
        files = files_of(model)
        size = fit_input(frame.width, frame.height, files.rule, size=self._options.size, multiple=files.multiple)
        alpha, planes = self._at(size, model, frame, trimap)
        if files.name in EMBEDDED and self._options.size is None and float((alpha > 0.5).mean()) < _SMALL_SHARE:
            return self._at(fit_to(frame.width, frame.height, _SMALL_SIZE), model, frame, trimap)
        return alpha, planes

    def _at(self, size: Fit, model: str, frame: Frame, trimap: U8 | None) -> tuple[F32, tuple[U8, ...]]:
        engine = self.last = self._engine(model, size.padded)
        engine.reset()
        low_light = self._options.low_light and trimap is None
        preparer = Preparer(size.content, size.padded, low_light=low_light)
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
        self._engines.close()

    def _engine(self, model: str, size: tuple[int, int]) -> Engine:
        def make() -> Engine:
            options = self._options
            chosen = options.model in (model, AUTO)  # else it only makes trimaps, on whatever engine runs it
            log.info("%s: input %dx%d", model, size[1], size[0])
            return open_engine(
                model,
                engine=options.engine if chosen else "auto",
                device=options.device,
                precision=options.precision if chosen else "auto",
                size=size,
                threads=options.threads,
                throughput=False,
                average=options.average if chosen else "off",
            )

        return self._engines.get((model, size), make)
