"""The matting stage of stills: choose a model, make the trimap, run the network or classic method, refine."""

from __future__ import annotations

import logging
from collections.abc import Callable

import cv2
import numpy as np

from streammatte.errors import ConfigError, ModelError, StreammatteError
from streammatte.frames import F32, U8, Frame, Matte
from streammatte.images.model_choice import Router
from streammatte.images.networks import Networks, files_of
from streammatte.images.transparency import extended, over_neutral, times
from streammatte.matting.controls import ControlSettings, MatteControls
from streammatte.matting.preprocess import resize_plane
from streammatte.matting.refine import Refiner
from streammatte.matting.trimap_methods import BACKGROUND, FOREGROUND, METHODS, auto_trimap, classic_alpha
from streammatte.network_size import MAX_LONG_SIDE
from streammatte.options.images import AUTO, ImageOptions
from streammatte.protocols import Engine, StageBase

__all__ = ["StillMatter", "Trimaps"]

log = logging.getLogger(__name__)

Trimaps = dict[int, U8]
"""Trimaps of the images in progress by frame index: the source adds them, the matter removes them."""


class _Unsolved(Exception):
    """A classic method found no matte for this image and trimap; other images are not affected."""

    def __init__(self, error: StreammatteError) -> None:
        super().__init__(str(error))
        self.error = error


class StillMatter(StageBase):
    """A stage: images of any size in, mattes out, one at a time.

    Parameters
    ----------
    options : ImageOptions
    trimaps : dict, optional
        By frame index; needed where ``options.trimap`` is given.
    on_failure : callable, optional
        Called, with the frame index, for an image that a classic method finds no matte for; it is then skipped. Without
        it the error is raised.
    name_of : callable
        An image's name in messages.

    Raises
    ------
    ModelNotFoundError, ModelError
        The model that ``options`` name is missing.
    ConfigError
        It needs a trimap and none is given, or it takes none and one is given.
    """

    def __init__(
        self,
        options: ImageOptions,
        trimaps: Trimaps | None = None,
        on_failure: Callable[[int, StreammatteError], None] | None = None,
        name_of: Callable[[Frame], str] = repr,
    ) -> None:
        self._options = options
        self._name_of = name_of
        self._on_failure = on_failure
        self._trimaps = {} if trimaps is None else trimaps
        self._networks = Networks(options)
        self._refiner = Refiner(options.refine)
        self._controls = MatteControls(ControlSettings.of(options))
        self._router = Router()
        self._logged: set[str] = set()
        self._check()

    @property
    def engine(self) -> Engine | None:
        """The engine that ran last; None before the first image, and for a classic method."""
        return self._networks.last

    def process(self, item: Frame) -> list[Matte]:
        """The matte of one image."""
        mode = self._options.input_alpha
        if mode == "ignore" and item.alpha is not None:
            item = item.like(item.planes)
        if mode == "only":
            return [self._own_matte(item)]
        seen = item if item.alpha is None else item.like((over_neutral(item.planes[0], item.alpha),))
        try:
            small, planes, alpha = self._alpha(seen, self._trimaps.pop(item.index, None))
        except _Unsolved as failure:
            if self._on_failure is None:
                raise failure.error from failure.error.__cause__
            self._on_failure(item.index, failure.error)
            return []
        alpha = self._controls.shape(alpha)
        if item.alpha is None:
            return [Matte(item, alpha, small, planes)]
        own = resize_plane(item.alpha, (small.shape[0], small.shape[1]))
        frame = item.like((extended(item.planes[0], item.alpha),))
        return [Matte(frame, times(alpha, item.alpha), small * own.astype(np.float32) / np.float32(255))]

    def _own_matte(self, item: Frame) -> Matte:
        """The image's own alpha as its matte."""
        if item.alpha is None:
            raise ConfigError(f"{self._name_of(item)} has no alpha; leave out --input-alpha only")
        frame = item.like((extended(item.planes[0], item.alpha),))
        return Matte(frame, self._controls.shape(item.alpha), item.alpha.astype(np.float32) / np.float32(255))

    def close(self) -> None:
        """Release the engines."""
        self._networks.close()

    def _check(self) -> None:
        model = self._options.model
        given = self._options.trimap is not None or self._options.auto_trimap is not None
        if model == AUTO:
            return
        if (model in METHODS or files_of(model).rule.trimap) and not given:
            raise ConfigError(f"{model} needs a trimap: give --trimap FILE, or --auto-trimap R to have one made")
        if given and model not in METHODS and not files_of(model).rule.trimap:
            raise ConfigError(
                f"{model} takes no trimap; leave it out, or take --model {', '.join(METHODS)} or dim-vgg16"
            )

    def _alpha(self, frame: Frame, trimap: U8 | None) -> tuple[F32, tuple[U8, ...] | None, U8]:
        """The matte at the network's size, the image there, and the matte at the image's size."""
        radius = self._options.auto_trimap
        if trimap is None and radius is None:
            return self._plain(frame, self._model_for(frame))
        if trimap is None:
            found = self._plain(frame, self._log_once(*self._router.network(frame.width, frame.height)))
            trimap = auto_trimap(found[2], radius or 0)
            if not (trimap == BACKGROUND).any() or not (trimap == FOREGROUND).any():
                log.warning(
                    "%s: --auto-trimap %d leaves no certain person or no certain background; its matte stays as it is",
                    self._name_of(frame),
                    radius or 0,
                )
                return found
        return self._with_trimap(frame, trimap)

    def _model_for(self, frame: Frame) -> str:
        if self._options.model != AUTO:
            return self._options.model
        return self._log_once(*self._router.network(frame.width, frame.height))

    def _plain(self, frame: Frame, model: str) -> tuple[F32, tuple[U8, ...], U8]:
        small, planes = self._networks.alpha(model, frame)
        self._controls.reset()
        small = self._controls.clean(small, (frame.height, frame.width), 0.0)
        return small, planes, self._enlarge(small, frame, planes)

    def _with_trimap(self, frame: Frame, trimap: U8) -> tuple[F32, tuple[U8, ...], U8]:
        model = self._options.model
        if model == AUTO:
            model = self._log_once(*self._router.with_trimap())
        if model in METHODS:
            small, planes = self._classic(model, frame, trimap)
        else:
            small, planes = self._networks.alpha(model, frame, trimap)
        alpha = self._enlarge(small, frame, planes)
        alpha[trimap == BACKGROUND] = 0
        alpha[trimap == FOREGROUND] = 255
        return small, planes, alpha

    def _classic(self, method: str, frame: Frame, trimap: U8) -> tuple[F32, tuple[U8, ...]]:
        image = frame.planes[0]
        scale = (self._options.size or MAX_LONG_SIDE) / max(frame.width, frame.height)
        if scale < 1:
            size = max(1, round(frame.height * scale)), max(1, round(frame.width * scale))
            image = resize_plane(image, size)
            trimap = cv2.resize(trimap, size[::-1], interpolation=cv2.INTER_NEAREST)
        try:
            return classic_alpha(method, np.ascontiguousarray(image), trimap), tuple(cv2.split(image))
        except (ConfigError, ModelError) as error:
            raise _Unsolved(error) from error

    def _enlarge(self, small: F32, frame: Frame, planes: tuple[U8, ...]) -> U8:
        rows, columns = small.shape
        if (rows, columns) == (frame.height, frame.width) or (rows > frame.height and columns > frame.width):
            levels = np.rint(np.clip(small, 0, 1) * 255).astype(np.uint8)
            return resize_plane(levels, (frame.height, frame.width))
        return self._refiner.refine(small, frame, planes)

    def _log_once(self, model: str, reason: str) -> str:
        if model not in self._logged:
            self._logged.add(model)
            log.info("model %s: %s", model, reason)
        return model
