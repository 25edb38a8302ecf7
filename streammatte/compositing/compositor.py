"""The compositing stage."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streammatte.compositing.backgrounds import Background, Original, Transparent
from streammatte.compositing.foreground import estimate_small
from streammatte.compositing.planes import Target, alpha_for_planes, black_planes, small_components
from streammatte.frames import ColorSpec, Composite, Frame, FramePool, Layout, Matte
from streammatte.kernels.blend import PlaneEstimate, blend_plane, foreground_plane

__all__ = ["StreamCompositor"]

U8 = npt.NDArray[np.uint8]
Estimates = tuple[PlaneEstimate | None, ...]


class StreamCompositor:
    """Puts the person in front of a background, plane by plane, in the frame's own layout.

    Parameters
    ----------
    background : Background
    foreground : bool
        Estimate the person's own colour at soft edges, so that the old background does not shine through.
    want_alpha, want_foreground : bool
        Also give the matte (GRAY, full range) and the straight foreground (black where alpha is 0) as frames.
    """

    def __init__(
        self,
        background: Background,
        *,
        foreground: bool = True,
        want_alpha: bool = False,
        want_foreground: bool = False,
    ) -> None:
        self.background = background
        self._estimate = foreground
        self._want_alpha = want_alpha
        self._want_foreground = want_foreground
        self._pool = FramePool()
        self._black: dict[Target, tuple[U8, ...]] = {}

    def process(self, item: Matte) -> list[Composite]:
        """The composite of one matte."""
        frame = item.frame
        alphas = alpha_for_planes(item.alpha, frame.layout)
        transparent = isinstance(self.background, Transparent)
        original = isinstance(self.background, Original)
        estimates: Estimates = (None,) * 3
        if not original or self._want_foreground:
            estimates = self._estimates(item)
        foreground = None
        if transparent or self._want_foreground:
            planes = self._planes(frame, alphas, self._black_for(frame), estimates, straight=True)
            foreground = frame.like(planes)
        if transparent and foreground is not None:
            picture = frame.like(foreground.planes, alpha=item.alpha)
        elif original:
            picture = frame
        else:
            picture = frame.like(self._planes(frame, alphas, self.background.planes(item), estimates, straight=False))
        alpha = None
        if self._want_alpha:
            alpha = frame.like((item.alpha,), Layout.GRAY)
            alpha.color = ColorSpec(full_range=True)
        return [Composite(picture, alpha, foreground if self._want_foreground else None)]

    def drain(self) -> list[Composite]:
        """Nothing is held back."""
        return []

    def reset(self) -> None:
        """Another film: the background starts anew."""
        self.background.reset()

    def close(self) -> None:
        """Release the background. Safe to call twice."""
        self.background.close()

    def _estimates(self, matte: Matte) -> Estimates:
        if not self._estimate:
            return (None,) * 3
        return estimate_small(small_components(matte), matte.small_alpha)

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
