"""The compositing stage."""

from __future__ import annotations

import numpy as np

from streammatte.compositing.backgrounds import Background, ImageBackground, Original, Transparent, VideoBackground
from streammatte.compositing.despill import Despill
from streammatte.compositing.foreground import estimate_multilevel, estimate_small, with_colours
from streammatte.compositing.light_match import LightMatch
from streammatte.frame_pool import FramePool
from streammatte.frames import U8, ColorSpec, Composite, Frame, Layout, Matte
from streammatte.kernels.blend import PlaneEstimate, blend_plane, foreground_plane
from streammatte.media.planes import Target, alpha_for_planes, black_planes, small_components
from streammatte.protocols import StageBase

__all__ = ["StreamCompositor"]

Estimates = tuple[PlaneEstimate | None, ...]


class StreamCompositor(StageBase):
    """Puts the person in front of a background, plane by plane, in the frame's own layout.

    Parameters
    ----------
    background : Background
    foreground : bool
        Estimate the person's own colour at soft edges, so that the old background's colour is removed from them.
    multilevel : bool
        Estimate it by the slower multi-level method.
    want_alpha, want_foreground : bool
        Also give the matte (GRAY, full range) and the straight foreground (black where alpha is 0) as frames.
    despill : {"off", "green", "blue", "auto"}
        Take a screen's light off the person's edges.
    match_light : bool
        Fit the person's light to a background that is an image or a video.
    """

    def __init__(
        self,
        background: Background,
        *,
        foreground: bool = True,
        multilevel: bool = False,
        want_alpha: bool = False,
        want_foreground: bool = False,
        despill: str = "off",
        match_light: bool = False,
    ) -> None:
        self.background = background
        self._estimate = foreground
        self._estimator = estimate_multilevel if multilevel else estimate_small
        self._want_alpha = want_alpha
        self._want_foreground = want_foreground
        self._scene = isinstance(background, ImageBackground | VideoBackground)
        self._despill: Despill | None = None
        self._light: LightMatch | None = None
        self._graded_by = ("off", False)
        self.adjust(despill, match_light=match_light)
        self._pool = FramePool()
        self._black: dict[Target, tuple[U8, ...]] = {}

    def adjust(self, despill: str, *, match_light: bool) -> None:
        """Use other values of these two parameters from the next matte on."""
        if (despill, match_light) == self._graded_by:
            return
        self._graded_by = (despill, match_light)
        self._despill = None if despill == "off" else Despill(despill)
        self._light = LightMatch() if match_light and self._scene else None

    def process(self, item: Matte) -> list[Composite]:
        """The composite of one matte."""
        frame = item.frame
        alphas = alpha_for_planes(item.alpha, frame.layout)
        transparent = isinstance(self.background, Transparent)
        original = isinstance(self.background, Original)
        estimates: Estimates = (None,) * 3
        key = None
        if not original or self._want_foreground:
            estimates = self._estimates(item)
            key = None if self._despill is None else self._despill.key(item)
        graded = key is not None or self._light is not None
        foreground = None
        if transparent or graded or self._want_foreground:
            planes = self._planes(frame, alphas, self._black_for(frame), estimates, straight=True)
            if self._despill is not None and key is not None:
                planes = self._despill.apply(planes, alphas, item, key)
            foreground = frame.like(planes)
        if transparent and foreground is not None:
            image = frame.like(foreground.planes, alpha=item.alpha)
        elif original:
            image = frame
        elif graded and foreground is not None:
            image = self._graded(foreground, alphas, item)
        else:
            image = frame.like(self._planes(frame, alphas, self.background.planes(item), estimates, straight=False))
        alpha = None
        if self._want_alpha:
            alpha = frame.like((item.alpha,), Layout.GRAY)
            alpha.color = ColorSpec(full_range=True)
        return [Composite(image, alpha, foreground if self._want_foreground else None)]

    def reset(self) -> None:
        """Another video: the background starts again."""
        self.background.reset()
        for remembering in (self._despill, self._light):
            if remembering is not None:
                remembering.reset()

    def interrupt(self) -> None:
        """Wait for no server of a background any longer. Safe from any thread."""
        self.background.interrupt()

    def close(self) -> None:
        """Release the background. Safe to call twice."""
        self.background.close()

    def _graded(self, foreground: Frame, alphas: tuple[U8, ...], matte: Matte) -> Frame:
        """A foreground whose colours are final, in the new light, over the background."""
        back = self.background.planes(matte)
        if self._light is not None:
            fit = self._light.fit(matte, back)
            foreground = foreground.like(self._light.apply(foreground.planes, fit, foreground))
        return foreground.like(self._planes(foreground, alphas, back, (None,) * 3, straight=False))

    def _estimates(self, matte: Matte) -> Estimates:
        if not self._estimate:
            return (None,) * 3
        found = self._estimator(small_components(matte), matte.small_alpha)
        return found if matte.small_foreground is None else with_colours(found, matte.small_foreground, matte.frame)

    def _black_for(self, frame: Frame) -> tuple[U8, ...]:
        target = Target.of(frame)
        if target not in self._black:
            self._black = {target: black_planes(target)}
        return self._black[target]

    def _planes(
        self, frame: Frame, alphas: tuple[U8, ...], back: tuple[U8, ...], estimates: Estimates, *, straight: bool
    ) -> tuple[U8, ...]:
        out = self._pool.take(frame.layout, frame.width, frame.height)
        run = foreground_plane if straight else blend_plane
        if frame.layout is Layout.RGB:
            for channel in range(3):
                image = np.ascontiguousarray(frame.planes[0][..., channel])
                under = np.ascontiguousarray(back[0][..., channel])
                target = np.empty_like(image)
                run(target, image, alphas[0], under, estimates[channel])
                out[0][..., channel] = target
            return out
        for target, image, alpha, under, estimate in zip(out, frame.planes, alphas, back, estimates, strict=False):
            run(target, image, alpha, under, estimate)
        return out
